"""Decodes every picture in the folders it is given by Pillow.

One line for each: file, decoder, digest of all that was decoded; "-" where it was refused.
"""
import hashlib
import os
import sys

from PIL import Image, ImageSequence

STATED = ("duration", "loop", "disposal", "transparency", "background")


def digest(path):
    found = hashlib.sha256()
    with Image.open(path) as picture:
        for frame in ImageSequence.Iterator(picture):
            found.update(repr([frame.size, frame.mode, *map(frame.info.get, STATED)]).encode())
            found.update(frame.convert("RGBA").tobytes())
    return found.hexdigest()


for folder in sys.argv[1:]:
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        try:
            found = digest(path)
        except Exception:
            found = "-"
        print(path, "Pillow", found, sep="\t")
