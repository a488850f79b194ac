"""Copies images of a bucket into one object with boto3: `copy_images.py BUCKET NUMBER`."""

import io
import sys

import boto3


class Images(io.RawIOBase):
    """The bytes of all images, one after the other."""

    def __init__(self, s3, bucket: str, number: int) -> None:
        self._keys = iter(f"{index}.png" for index in range(number))
        self._s3, self._bucket = s3, bucket
        self._image = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if not self._image:
            key = next(self._keys, None)
            if key is None:
                return 0
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"]
            self._image = memoryview(body.read())
        count = min(len(buffer), len(self._image))
        buffer[:count] = self._image[:count]
        self._image = self._image[count:]
        return count


if __name__ == "__main__":
    _, bucket, number = sys.argv
    client = boto3.client("s3")
    source = io.BufferedReader(Images(client, bucket, int(number)), 1024 * 1024)
    client.upload_fileobj(source, bucket, "copy")
