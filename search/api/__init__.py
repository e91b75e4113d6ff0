"""The Python interface, `import search`: studies, analyses and exported models, by the functions of the commands."""
