"""Check, explain and escape text from untrusted sources."""
