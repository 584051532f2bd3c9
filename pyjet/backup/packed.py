"""Files compressed block by block with zlib: written and read as streams, and a damaged block is found and named.

On disk, integers little-endian: header "PYJETPZ1", block size u32, raw size u64, crc32 of these; then blocks: stored size u32 (top
bit: not compressed), raw size u32, crc32 of the raw and of the stored bytes, crc32 of these four, then the bytes; at the end the offset of each block,
u64, and: offset of that index u64, number of blocks u32, crc32 of the index u32, "PYJETPZE". With the index, blocks behind a
damaged one are found; without it reading stops at the first one whose own header is damaged.
"""

import collections
import concurrent.futures
import os
import struct
import zlib

from .. import errors
from . import files, places

BLOCK = 1 << 20
BLOCK_MOST = 16 << 20
MAGIC, END_MAGIC = b"PYJETPZ1", b"PYJETPZE"
_HEAD = struct.Struct("<8sIQ")
_BLOCK = struct.Struct("<IIII")
_CRC = struct.Struct("<I")
_END = struct.Struct("<QII8s")
_STORED = 1 << 31
HINT = "Restore from another set or copy; the other files of this one may be whole (verify tells)."


def damaged(path, block, text):
    where = f"{path}: block {block}: " if block is not None else f"{path}: "
    return errors.DamagedSetError(
        where + text, HINT, file=os.path.basename(path).removesuffix(".pz"), block=block
    )


def _pack_block(raw, level):
    squeezed = zlib.compress(raw, level)
    body, flag = (squeezed, 0) if len(squeezed) < len(raw) else (raw, _STORED)
    head = _BLOCK.pack(len(body) | flag, len(raw), zlib.crc32(raw), zlib.crc32(body))
    return head + _CRC.pack(zlib.crc32(head)) + body


def pack(source, destination, *, level=1, block=BLOCK, step=None):
    """Compresses a file into a new one, synced; gives back its size. Two threads compress, so memory is a few blocks."""
    size = os.path.getsize(source)
    offsets, waiting = [], collections.deque()
    with (
        open(source, "rb") as src,
        open(destination, "xb") as dst,
        concurrent.futures.ThreadPoolExecutor(2, "pyjet pack") as pool,
    ):
        head = _HEAD.pack(MAGIC, block, size)
        dst.write(head + _CRC.pack(zlib.crc32(head)))

        def write_first():
            raw_size, work = waiting.popleft()
            offsets.append(dst.tell())
            with places.told(destination):
                dst.write(work.result())
            if step is not None:
                step(raw_size)

        while raw := src.read(block):
            waiting.append((len(raw), pool.submit(_pack_block, raw, level)))
            if len(waiting) > 3:
                write_first()
        while waiting:
            write_first()
        index_at = dst.tell()
        index = struct.pack(f"<{len(offsets)}Q", *offsets)
        with places.told(destination):
            dst.write(index + _END.pack(index_at, len(offsets), zlib.crc32(index), END_MAGIC))
            dst.flush()
            os.fsync(dst.fileno())
        return dst.tell()


class Reader:
    """A packed file, read in order or block by block. Every size in it is held against the file's own before it is believed."""

    def __init__(self, path, expect_size=None):
        self.path = path
        self._file = open(path, "rb")  # noqa: SIM115
        try:
            self._read_head(expect_size)
        except BaseException:
            self._file.close()
            raise

    def _read_head(self, expect_size):
        self._size = os.fstat(self._file.fileno()).st_size
        data = self._file.read(_HEAD.size + _CRC.size)
        if len(data) < _HEAD.size + _CRC.size:
            raise damaged(self.path, None, "it is too short")
        magic, self.block, self.size = _HEAD.unpack_from(data)
        if magic != MAGIC or _CRC.unpack_from(data, _HEAD.size)[0] != zlib.crc32(
            data[: _HEAD.size]
        ):
            raise damaged(self.path, None, "its header is damaged")
        if not 0 < self.block <= BLOCK_MOST:
            raise damaged(
                self.path,
                None,
                f"its blocks have {self.block} bytes; at most {BLOCK_MOST} are allowed",
            )
        if expect_size is not None and self.size != expect_size:
            raise damaged(
                self.path, None, f"it holds {self.size} bytes, the manifest says {expect_size}"
            )
        self.count = -(-self.size // self.block)
        self._next_at = self._file.tell()

    def index(self):
        """The offset of each block, or None when the index is damaged."""
        if self._size < _END.size + self.count * 8:
            return None
        self._file.seek(self._size - _END.size)
        at, count, crc, magic = _END.unpack(self._file.read(_END.size))
        if magic != END_MAGIC or count != self.count or at != self._size - _END.size - count * 8:
            return None
        self._file.seek(at)
        data = self._file.read(count * 8)
        if len(data) != count * 8 or zlib.crc32(data) != crc:
            return None
        return struct.unpack(f"<{count}Q", data)

    def read_block(self, number, at):
        """Raw bytes of a block; DamagedSetError names it."""
        self._file.seek(at)
        head = self._file.read(_BLOCK.size + _CRC.size)
        if len(head) < _BLOCK.size + _CRC.size or _CRC.unpack_from(head, _BLOCK.size)[
            0
        ] != zlib.crc32(head[: _BLOCK.size]):
            raise damaged(self.path, number, "its header is damaged")
        flags, raw_size, crc, body_crc = _BLOCK.unpack_from(head)
        stored, want = flags & ~_STORED, min(self.block, self.size - number * self.block)
        if raw_size != want or stored > want:
            raise damaged(self.path, number, f"its sizes ({stored}, {raw_size}) do not fit")
        body = self._file.read(stored)
        self._next_at = self._file.tell()
        if len(body) < stored:
            raise damaged(self.path, number, "the file ends in it")
        if zlib.crc32(body) != body_crc:
            raise damaged(self.path, number, "its checksum is wrong")
        raw = body if flags & _STORED else self._inflate(number, body, raw_size)
        if len(raw) != raw_size or zlib.crc32(raw) != crc:
            raise damaged(self.path, number, "it inflates to other bytes")
        return raw

    def _inflate(self, number, body, raw_size):
        inflater = zlib.decompressobj()
        try:
            raw = inflater.decompress(body, raw_size + 1)
        except zlib.error as error:
            raise damaged(self.path, number, f"it cannot be inflated ({error})") from None
        if len(raw) != raw_size or not inflater.eof:
            raise damaged(self.path, number, "it inflates to another size")
        return raw

    def __iter__(self):
        """The blocks in order: a stream that holds one at a time."""
        for number in range(self.count):
            yield self.read_block(number, self._next_at)

    def findings(self, step=None):
        """Every damaged block, as errors: by the index those behind a damaged one, too."""
        index = self.index()
        if index is None:
            yield damaged(self.path, None, "its index is damaged")
        self._next_at = _HEAD.size + _CRC.size
        for number in range(self.count):
            at = index[number] if index is not None else self._next_at
            before = self._next_at
            try:
                raw = self.read_block(number, at)
            except errors.DamagedSetError as error:
                yield error
                if index is None and self._next_at == before:
                    return
                continue
            if step is not None:
                step(len(raw))

    def close(self):
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def unpack(source, destination, expect_size, step=None):
    """Inflates a packed file into a new one, synced."""
    with Reader(source, expect_size) as reader, open(destination, "xb") as dst:
        for raw in reader:
            files.write_sparse(dst, raw)
            if step is not None:
                step(len(raw))
        files.finish_sparse(dst)
