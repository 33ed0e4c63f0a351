"""The entropy decoder of LAZ chunk tables: LASzip's arithmetic decoder and integer coder.

A table lists, per chunk, its bytes (and where chunks vary its points), each as a difference to the
one before. Reading it here tells a cut or damaged file from a sound one before any native decoder,
which would abort the process on nonsense, has seen it.
"""

from bisect import bisect_right

_MASK = 0xFFFFFFFF
_RENORM = 1 << 24
_SYMBOL_BITS, _MOST_SYMBOL_COUNT = 15, 1 << 15
_BIT_BITS, _MOST_BIT_COUNT = 13, 1 << 13
_CORRECTOR_BITS = 32
_MODELLED_BITS = 8  # the upper bits of a difference are modelled, the rest is stored as it is


class SymbolModel:
    """Adaptive frequencies of `symbols` symbols."""

    def __init__(self, symbols: int) -> None:
        self._counts = [1] * symbols
        self._total = 0
        self._cycle = symbols
        self.starts: list[int] = []
        self._update()
        self._until = self._cycle = (symbols + 6) >> 1

    def count(self, symbol: int) -> None:
        """Take note of a symbol that was seen."""
        self._counts[symbol] += 1
        self._until -= 1
        if self._until == 0:
            self._update()

    def _update(self) -> None:
        self._total += self._cycle
        if self._total > _MOST_SYMBOL_COUNT:
            self._counts = [(count + 1) >> 1 for count in self._counts]
            self._total = sum(self._counts)
        scale, before, starts = (1 << 31) // self._total, 0, []
        for count in self._counts:
            starts.append((scale * before) >> (31 - _SYMBOL_BITS))
            before += count
        self.starts = starts
        self._cycle = min((5 * self._cycle) >> 2, (len(starts) + 6) << 3)
        self._until = self._cycle


class BitModel:
    """Adaptive frequency of a bit being 0."""

    def __init__(self) -> None:
        self._zeros, self._total = 1, 2
        self.zero_share = 1 << (_BIT_BITS - 1)
        self._cycle = self._until = 4

    def count(self, bit: int) -> None:
        """Take note of a bit that was seen."""
        self._zeros += 1 - bit
        self._until -= 1
        if self._until == 0:
            self._update()

    def _update(self) -> None:
        self._total += self._cycle
        if self._total > _MOST_BIT_COUNT:
            self._total = (self._total + 1) >> 1
            self._zeros = (self._zeros + 1) >> 1
            self._total += self._zeros == self._total
        self.zero_share = (self._zeros * ((1 << 31) // self._total)) >> (31 - _BIT_BITS)
        self._cycle = self._until = min((5 * self._cycle) >> 2, 64)


class Decoder:
    """Reads symbols, bits and plain numbers from arithmetic-coded bytes.

    Raises `EOFError` where the bytes end too early.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._next = data, 4
        if len(data) < 4:
            raise EOFError
        self._value = int.from_bytes(data[:4], "big")
        self._length = _MASK

    def symbol(self, model: SymbolModel) -> int:
        """The next symbol, counted in its model."""
        end = self._length
        self._length >>= _SYMBOL_BITS
        found = bisect_right(model.starts, self._value // self._length) - 1
        start = model.starts[found] * self._length
        if found + 1 < len(model.starts):
            end = model.starts[found + 1] * self._length
        self._narrow(start, end - start)
        model.count(found)
        return found

    def bit(self, model: BitModel) -> int:
        """The next bit, counted in its model."""
        border = model.zero_share * (self._length >> _BIT_BITS)
        bit = int(self._value >= border)
        self._narrow(border if bit else 0, self._length - border if bit else border)
        model.count(bit)
        return bit

    def bits(self, count: int) -> int:
        """The next `count` bits as they are."""
        if count > 19:
            low = self.bits(16)
            return self.bits(count - 16) << 16 | low
        self._length >>= count
        found = self._value // self._length
        self._narrow(self._length * found, self._length)
        return found

    def _narrow(self, start: int, length: int) -> None:
        self._value -= start
        self._length = length
        while self._length < _RENORM:
            if self._next >= len(self._data):
                raise EOFError
            self._value = (self._value << 8 | self._data[self._next]) & _MASK
            self._next += 1
            self._length <<= 8


class Integers:
    """32-bit numbers, each coded as the difference to a predicted one, per context."""

    def __init__(self, decoder: Decoder, contexts: int) -> None:
        self._decoder = decoder
        self._widths = [SymbolModel(_CORRECTOR_BITS + 1) for _ in range(contexts)]
        self._single = BitModel()
        self._differences = [
            SymbolModel(1 << min(width, _MODELLED_BITS)) for width in range(_CORRECTOR_BITS + 1)
        ]

    def next(self, predicted: int, context: int) -> int:
        """The next number, as an unsigned one."""
        return (predicted + self._difference(context)) & _MASK

    def _difference(self, context: int) -> int:
        width = self._decoder.symbol(self._widths[context])
        if width == 0:
            return self._decoder.bit(self._single)
        if width == _CORRECTOR_BITS:
            return -(1 << 31)
        value = self._decoder.symbol(self._differences[width])
        if width > _MODELLED_BITS:
            plain = width - _MODELLED_BITS
            value = value << plain | self._decoder.bits(plain)
        return value + 1 if value >= 1 << (width - 1) else value - (1 << width) + 1
