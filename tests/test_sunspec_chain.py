"""The chain of models: every way in which devices begin, end and break it."""

from collections.abc import Sequence

import pytest

from bridges.sunspec.chain import (
    Block,
    Moved,
    find_base,
    read_block,
    unchanged,
    walk,
)
from heliobus.errors import FrameError, LinkError
from heliobus.exchange import Silence
from heliobus.modbus import Refused
from tests.sunspec_chains import END, SUNS, Registers, common

INVERTER = (103, 50, *[7] * 50)
METER = (203, 105, *[8] * 105)


def _ids(blocks: Sequence[Block]) -> list[int]:
    return [block.id for block in blocks]


def _device(*parts: Sequence[int]) -> Registers:
    return Registers(40000, SUNS, common(), *parts)


class Silent(Registers):
    """A device that does not answer for what it does not have, and loses some answers."""

    lost = 0

    def read(self, start: int, count: int) -> Sequence[int]:
        if self.lost:
            self.lost -= 1
            raise Silence("no answer")
        try:
            return super().read(start, count)
        except Refused as error:
            raise Silence("no answer") from error


@pytest.mark.parametrize("base", [40000, 50000, 0])
def test_the_marker_is_found_at_each_of_its_places(base: int) -> None:
    chain = walk(Registers(base, SUNS, common(), INVERTER, END).read)
    assert (chain.base, chain.warnings, chain.sure) == (base, (), True)
    assert chain.blocks == (Block(1, base + 2, 66), Block(103, base + 70, 50))
    assert chain.end == Block(65535, base + 122, 0)


def test_no_marker_is_told_with_what_was_found_instead() -> None:
    device = Registers(40000, [0x1234, 0xABCD])
    with pytest.raises(FrameError) as refused:
        walk(device.read)
    assert str(refused.value) == (
        "no SunSpec here; found 40000: 1234 ABCD, 50000: exception 2, 0: exception 2,"
        " expected 5375 6E53 at one of these; look whether SunSpec is switched on in the device,"
        " and at its unit id"
    )


def test_a_device_that_is_away_costs_one_timeout() -> None:
    device = Silent(40000)
    with pytest.raises(Silence):
        find_base(device.read)
    assert len(device.asked) == 1


def test_a_chain_that_ends_in_zeros_keeps_what_was_found() -> None:
    chain = walk(_device(INVERTER, [0] * 200).read)
    assert _ids(chain.blocks) == [1, 103]
    assert chain.end == Block(0, 40122, 0)
    assert chain.warnings == ("no end model: zeros at 40122",)


def test_a_chain_that_ends_with_an_exception_keeps_what_was_found() -> None:
    chain = walk(_device(INVERTER).read)
    assert _ids(chain.blocks) == [1, 103]
    assert (chain.end, chain.sure) == (None, True)
    assert chain.warnings == ("no end model: exception 2 at 40122",)


def test_a_chain_that_ends_in_silence_keeps_what_was_found_and_is_not_sure() -> None:
    chain = walk(Silent(40000, SUNS, common(), INVERTER).read)
    assert _ids(chain.blocks) == [1, 103]
    assert chain.sure is False
    assert chain.warnings == ("no end model: no answer at 40122",)


def test_one_lost_answer_does_not_end_a_chain() -> None:
    device = Silent(40000, SUNS, common(), INVERTER, METER, END)

    def read(start: int, count: int) -> Sequence[int]:
        device.lost = start == 40122 and (start, count) not in device.asked and not lost
        if device.lost:
            lost.append(start)
        return device.read(start, count)

    lost: list[int] = []
    assert _ids(walk(read).blocks) == [1, 103, 203]
    assert lost == [40122]


def test_silence_before_the_first_model_is_no_chain() -> None:
    with pytest.raises(Silence):
        walk(Silent(40000, SUNS).read)


@pytest.mark.parametrize("code", [5, 6, 10, 11])
def test_a_busy_device_does_not_end_its_chain(code: int) -> None:
    device = _device(INVERTER, END)

    def read(start: int, count: int) -> Sequence[int]:
        if start == 40122:
            raise Refused("busy", code)
        return device.read(start, count)

    with pytest.raises(Refused):
        walk(read)


def test_a_lost_connection_does_not_end_a_chain() -> None:
    device = _device(INVERTER, END)

    def read(start: int, count: int) -> Sequence[int]:
        if start == 40122:
            raise LinkError("gone")
        return device.read(start, count)

    with pytest.raises(LinkError):
        walk(read)


def test_a_model_that_is_longer_than_all_addresses_is_left_out() -> None:
    chain = walk(_device(INVERTER, (701, 60000)).read)
    assert _ids(chain.blocks) == [1, 103]
    assert chain.warnings == (
        "model 701 at 40122 says it has 60000 registers, which is more than there are;"
        " it and what follows is left out",
    )


def test_a_chain_that_reaches_the_last_address_ends_there() -> None:
    rest = 0x10000 - 40000 - 2 - 68 - 2
    chain = walk(_device((64001, rest), [0] * rest).read)
    assert _ids(chain.blocks) == [1, 64001]
    assert chain.warnings == ("the chain reaches address 65536 without an end",)


def test_a_chain_without_an_end_is_left_after_200_models() -> None:
    chain = walk(_device(*[(9, 0)] * 300).read)
    assert len(chain.blocks) == 200
    assert chain.warnings == ("more than 200 models; what follows 40468 is left out",)


def test_models_are_counted_by_their_number() -> None:
    chain = walk(_device(INVERTER, METER, INVERTER, END).read)
    assert [block.name for block in chain.blocks] == ["1#0", "103#0", "203#0", "103#1"]


def test_each_further_common_model_begins_a_device() -> None:
    inner = common("Meter", length=65)
    chain = walk(_device(INVERTER, inner, METER, inner, METER, END).read)
    assert [_ids(blocks) for blocks in chain.devices] == [[1, 103], [1, 203], [1, 203]]


@pytest.mark.parametrize("length", [15, 65, 66])
def test_a_common_model_may_be_shorter(length: int) -> None:
    chain = walk(Registers(40000, SUNS, common(length=length), INVERTER, END).read)
    assert chain.blocks[1] == Block(103, 40004 + length, 50)


# ---------------------------------------------------------------------- kept


def test_a_kept_chain_is_recognised_with_two_requests() -> None:
    device = _device(INVERTER, END)
    chain = walk(device.read)
    device.asked.clear()
    assert unchanged(device.read, chain)
    assert device.asked == [(40000, 4), (40122, 2)]


def test_a_device_that_was_added_is_noticed() -> None:
    chain = walk(_device(INVERTER, END).read)
    assert not unchanged(_device(INVERTER, METER, END).read, chain)


def test_a_device_that_was_taken_away_is_noticed() -> None:
    chain = walk(_device(INVERTER, METER, END).read)
    assert not unchanged(_device(INVERTER, END).read, chain)


def test_another_device_is_noticed() -> None:
    chain = walk(_device(INVERTER, END).read)
    assert not unchanged(Registers(40000, SUNS, common(length=65), INVERTER, END).read, chain)


def test_a_chain_without_an_end_is_recognised_by_its_last_model() -> None:
    chain = walk(_device(INVERTER).read)
    assert unchanged(_device(INVERTER).read, chain)
    assert not unchanged(_device(METER).read, chain)


# ---------------------------------------------------------------------- read


def test_a_block_is_read_with_its_header_in_one_request() -> None:
    device = _device(INVERTER, END)
    assert read_block(device.read, Block(103, 40070, 50), most=100) == INVERTER
    assert device.asked == [(40070, 52)]


def test_a_block_that_just_fits_is_read_with_its_header_all_the_same() -> None:
    block = (213, 124, *range(124))
    device = _device(block, END)
    assert read_block(device.read, Block(213, 40070, 124), most=125) == block
    assert device.asked == [(40070, 124), (40194, 2)]  # the events are two registers


def test_a_block_that_just_fitted_and_has_moved_is_noticed() -> None:
    device = _device(METER, (213, 124, *range(124)), END)
    with pytest.raises(Moved, match="model 213 is no longer at 40070: found 203"):
        read_block(device.read, Block(213, 40070, 124), most=125)


def test_a_long_block_is_read_in_pieces_that_end_where_points_end() -> None:
    block = (64110, 420, *range(420))
    device = Registers(40000, SUNS, common(), block, END, most=100)
    assert read_block(device.read, Block(64110, 40070, 420), most=100) == block
    starts = [start - 40070 for start, _ in device.asked]
    # 196: an address of mail would go on to 211. 275, 419: scale factors of other pieces.
    assert starts == [275, 419, 0, 100, 196, 296, 396, 275, 419]
    assert all(count <= 100 for _, count in device.asked)


def test_curves_are_read_in_pieces_that_end_where_points_end() -> None:
    # 3 curves of 10 registers and 4 points of 2: NPt says so, which comes with the first piece.
    head = [1, 0, 0, 4, 3, *[0] * 8]
    block = (705, 13 + 3 * 18, *head, *range(54))
    device = _device(block, END)
    assert read_block(device.read, Block(705, 40070, 67), most=20) == block
    assert all(count <= 20 for _, count in device.asked)


def test_a_string_longer_than_a_request_is_cut() -> None:
    block = (1, 66, *range(66))
    device = Registers(40000, SUNS, block, END, most=10)
    assert read_block(device.read, Block(1, 40002, 66), most=10) == block


def test_a_model_that_nobody_knows_is_read_as_it_comes() -> None:
    block = (64001, 150, *range(150))
    device = _device(block, END)
    assert read_block(device.read, Block(64001, 40070, 150), most=100) == block
    assert [count for _, count in device.asked] == [100, 52]


AC = Block(701, 40070, 153)
AC_WORDS = (701, 153, *range(2, 113), *[0] * 10, *range(123, 155))
AT_W_SF = 40070 + 116


class Changing(Registers):
    """A device that changes a scale factor right before the requests of these numbers."""

    def __init__(self, *parts: Sequence[int], at: int, before: Sequence[int], most: int) -> None:
        super().__init__(40000, SUNS, common(), *parts, END, most=most)
        self._at = at
        self._before = before

    def read(self, start: int, count: int) -> Sequence[int]:
        if len(self.asked) in self._before:
            self.words[self._at - self.start] += 1
        return super().read(start, count)


def test_scale_factors_that_come_apart_from_their_values_are_read_around_them() -> None:
    device = Registers(40000, SUNS, common(), AC_WORDS, END, most=60)
    assert read_block(device.read, AC, most=60) == AC_WORDS
    scales = (40070 + 113, 10)
    assert device.asked == [scales, (40070, 60), (40130, 60), (40190, 35), scales]


def test_a_model_in_one_piece_needs_no_further_request_for_its_scale_factors() -> None:
    device = Registers(40000, SUNS, common(), AC_WORDS, END)
    assert read_block(device.read, AC) == AC_WORDS
    assert device.asked == [(40070, 123), (40193, 32)]


@pytest.mark.parametrize(("before", "requests"), [(1, 9), (2, 9), (3, 10), (4, 10)])
def test_a_scale_factor_that_changes_between_the_pieces_has_the_model_read_again(
    before: int, requests: int
) -> None:
    device = Changing(AC_WORDS, at=AT_W_SF, before=[before], most=60)
    assert read_block(device.read, AC, most=60)[116] == 1
    assert len(device.asked) == requests


def test_scale_factors_that_go_on_changing_are_told() -> None:
    device = Changing(AC_WORDS, at=AT_W_SF, before=[2, 7], most=60)
    with pytest.raises(FrameError, match="model 701 at 40070: its scale factors change while it"):
        read_block(device.read, AC, most=60)


def test_scale_factors_before_strings_that_come_apart_are_read_around_them() -> None:
    strings = (160, 8 + 8 * 20, *[0] * (8 + 8 * 20))
    device = Registers(40000, SUNS, common(), strings, END)
    assert read_block(device.read, Block(160, 40070, 168)) == strings
    assert device.asked[0] == device.asked[-1] == (40072, 4)


def test_a_block_that_has_moved_is_noticed_before_it_is_taken_for_another() -> None:
    device = _device(METER, INVERTER, END)
    with pytest.raises(Moved, match="model 103 is no longer at 40070: found 203 with 105"):
        read_block(device.read, Block(103, 40070, 50))
