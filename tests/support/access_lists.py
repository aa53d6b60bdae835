"""Access control lists of files, as Linux stores them."""

import errno
import os
import struct

import pytest

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_NO_ID = 2**32 - 1


def access_list(owner, user, user_bits, group, mask, others):
    """The list with one named user; each of the others is its bits, as in a file's mode."""
    entries = (
        (1, owner, _NO_ID),
        (2, user_bits, user),
        (4, group, _NO_ID),
        (16, mask, _NO_ID),
        (32, others, _NO_ID),
    )
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def set_access_list(path, attribute, packed):
    """Give a file a list, or skip the test where the file system has none."""
    try:
        os.setxattr(path, attribute, packed)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("this file system has no access control lists")
