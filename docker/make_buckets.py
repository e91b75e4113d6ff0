"""Makes the buckets that are named on the command line, those that are missing. Waits for the object store.

Reads AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
"""

from __future__ import annotations

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


def main(names: list[str]) -> int:
    """Make the buckets; 1 if the store refuses or is away."""
    store = boto3.client("s3", config=Config(retries={"max_attempts": 10, "mode": "standard"}))
    try:
        there = {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
        for name in names:
            if name not in there:
                store.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError) as error:
        sys.stderr.write(f"make_buckets.py: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
