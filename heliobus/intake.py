"""What a sink has taken in and not yet stored: samples, and how far they complete each track.

Samples come live and from journals. `commit` follows a successful write, `drop` a failed one: then
the samples are forgotten, and their tracks show a hole until the bridges have sent them again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from heliobus.contract import Contract
from heliobus.cursor import MINUS_INFINITY, Key, Request, Requests, Track
from heliobus.errors import FrameError
from heliobus.sample import PROVISIONAL, SIMULATED, Sample, parse_sample, time_ms
from heliobus.topics import BUS, SLUG, Address

# Samples of publishers that are not ours, which nobody can be asked for again.
FOREIGN_SAMPLES = 10_000


def optional_ms(text: object) -> int:
    """Read a time of a request or answer; null is minus infinity. Raise FrameError."""
    return MINUS_INFINITY if text is None else time_ms(text)


class Intake:
    """The tracks of one sink and the batch that is to be written next.

    `backfill_ms`: how much of the past a key without a cursor asks for; None: all there is.
    `reject(topic, reason, found)` takes what is refused, `lost(text)` hears of lost samples.
    `simulated` False: what is marked so is not stored, though its stretch of time is complete.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        backfill_ms: int | None,
        now_ms: Callable[[], int],
        reject: Callable[[str, str, Mapping[str, Any]], None],
        lost: Callable[[str], None],
        simulated: bool = False,
    ) -> None:
        self._contract = contract
        self._backfill_ms = backfill_ms
        self._now_ms = now_ms
        self._reject = reject
        self._lost = lost
        self._simulated = simulated
        self.simulated_skipped = 0
        self._tracks: dict[Key, Track] = {}
        self._proposed: dict[Key, Track] = {}
        self._firsts: dict[Key, int] = {}
        self._kept: set[Key] = set()  # whose cursors the destination has
        self._offline: set[tuple[str, str]] = set()
        self._requests = Requests()
        self._foreign: list[Sample] = []
        self.samples: list[Sample] = []
        self.answered = False  # a bridge waits with its next batch until this one is stored

    # ------------------------------------------------------------------ taking in

    def take_sample(self, topic: str, address: Address, payload: bytes) -> None:
        """Take in a live state or event."""
        try:
            sample = parse_sample(address.site, address.device or BUS, payload)
        except FrameError as error:
            self._reject(topic, str(error), {"payload": payload[:500].decode("utf-8", "replace")})
            return
        if (bridge := sample.bridge) is None:
            self.take_foreign(topic, sample)
            return
        sample = self._sifted(topic, sample)
        if sample.marks.get("quality") == PROVISIONAL:
            return  # it comes again with its true time
        key = (sample.site, bridge, sample.device)
        prev_ms = sample.prev_ms
        track = self._track(key)
        if track is None:
            first = prev_ms is None and self._is_first(key, sample.time_ms)
            prev_ms = sample.time_ms - 1 if first else prev_ms
            track = self._new_track(key, prev_ms, first=first)
        if not track.has(sample.time_ms) and self._is_wanted(sample):
            self.samples.append(sample)
        self._proposed[key] = track.take_state(prev_ms, sample.time_ms)

    def take_foreign(self, topic: str, sample: Sample) -> None:
        """Take in a sample that nobody can be asked for again."""
        sample = self._sifted(topic, sample)
        if sample.marks.get("quality") != PROVISIONAL and self._is_wanted(sample):
            self._foreign = [*self._foreign, sample][-FOREIGN_SAMPLES:]

    def take_history(self, topic: str, site: str, payload: bytes) -> None:
        """Take in a bridge's answer to a request."""
        try:
            body = self._contract.parse("history", payload)
            after_ms, to_ms = optional_ms(body["after"]), optional_ms(body["to"])
        except FrameError as error:
            self._reject(topic, str(error), {"payload": payload[:500].decode("utf-8", "replace")})
            return
        key = (site, body["bridge"], body["device"])
        request = self._requests.answered(body["id"])
        self.answered = True
        track = self._track(key)
        if track is None:
            return
        for item in body["samples"]:
            self._take_old(topic, key, item)
        if request is None or request.key != key:
            # Late, asked again meanwhile: its samples count, its word on where we stand does not.
            if body["samples"] and not body.get("restart"):
                self._proposed[key] = track.take_batch(after_ms, to_ms, empty=False, restart=False)
            return
        self._proposed[key] = track.take_batch(
            after_ms,
            to_ms,
            empty=not body["samples"],
            restart=body.get("restart") is True,
            end=body.get("end") is True,
        )
        if body.get("lost_until"):
            self._lost(
                f"{body['device']}: the journal of '{body['bridge']}' no longer holds what was "
                f"measured up to {body['lost_until']}"
            )

    def _take_old(self, topic: str, key: Key, item: Mapping[str, Any]) -> None:
        site, _, device = key
        try:
            sample = self._sifted(topic, parse_sample(site, device, item))
        except FrameError as error:
            self._reject(topic, str(error), {"sample": item})
            return
        if self._is_wanted(sample):
            self.samples.append(sample)

    def _is_wanted(self, sample: Sample) -> bool:
        """Say whether a sample may be stored here; count the others."""
        wanted = self._simulated or sample.marks.get(SIMULATED) is not True
        self.simulated_skipped += not wanted
        return wanted

    def take_status(self, site: str, bridge: str, body: Mapping[str, Any]) -> None:
        """Take in how a component is: whether it can be asked, and what its journal holds."""
        if body.get("state") == "offline":
            self._offline.add((site, bridge))
            return
        self._offline.discard((site, bridge))
        self._requests.heard(site, bridge)
        heads = body.get("heads")
        for device, head in heads.items() if isinstance(heads, Mapping) else ():
            if not SLUG.match(device):
                continue  # nobody could be asked for it
            try:
                first_ms, last_ms = time_ms(head["first"]), time_ms(head["last"])
            except (FrameError, TypeError, KeyError):
                continue
            key = (site, bridge, device)
            self._firsts[key] = first_ms
            track = self._track(key) or self._new_track(key, last_ms, first=False)
            tracks = self._proposed if key in self._proposed else self._tracks
            tracks[key] = track.take_head(last_ms)

    def _sifted(self, topic: str, sample: Sample) -> Sample:
        good, bad = self._contract.sift(sample.kind, sample.values)
        for name, reason in bad.items():
            self._reject(topic, reason, {name: sample.values[name]})
        return replace(sample, values=good)

    def _track(self, key: Key) -> Track | None:
        return self._proposed.get(key) or self._tracks.get(key)

    def _is_first(self, key: Key, time_ms: int) -> bool:
        """Say whether nothing older than the beginning of this chain is to be asked for."""
        return self._backfill_ms == 0 or self._firsts.get(key, time_ms) >= time_ms

    def _new_track(self, key: Key, prev_ms: int | None, *, first: bool) -> Track:
        """Begin a track where the option `backfill` says, or at the beginning of all."""
        if prev_ms is not None and (first or self._backfill_ms == 0):
            cursor_ms = prev_ms
        elif self._backfill_ms is None:
            cursor_ms = MINUS_INFINITY
        else:
            cursor_ms = self._now_ms() - self._backfill_ms
        self._tracks[key] = Track(cursor_ms)
        return self._tracks[key]

    # ------------------------------------------------------------------ storing and asking

    def load(self, cursors: Mapping[Key, int]) -> None:
        """Take the stored cursors, once the destination is open (again).

        What was taken in before them was judged without them; it will be asked for.
        """
        self.drop()
        self._requests.forget()
        for key in self._kept - cursors.keys():  # it was emptied, or another is in its place
            known = self._tracks[key]
            track = self._new_track(key, known.cursor_ms, first=False)
            self._tracks[key] = track.take_head(max(known.newest_ms, known.cursor_ms))
        self._kept = set(cursors)
        for key, cursor_ms in cursors.items():
            known = self._tracks.get(key, Track(cursor_ms))
            # What lay beyond a hole may have been forgotten together with what failed.
            self._tracks[key] = replace(known, cursor_ms=cursor_ms, islands=())

    def pending(self) -> list[Sample]:
        """Give all samples that are to be written next."""
        return [*self._foreign, *self.samples]

    def cursors(self) -> dict[Key, int]:
        """Give the cursors that are true once the pending samples are stored."""
        return {
            key: track.cursor_ms
            for key, track in self._proposed.items()
            if track.cursor_ms != MINUS_INFINITY
        }

    def commit(self) -> None:
        """Note that the pending samples are stored."""
        self._kept |= self.cursors().keys()
        self._tracks.update(self._proposed)
        self._proposed.clear()
        self.samples.clear()
        self.answered = False
        self._foreign.clear()

    def drop(self) -> None:
        """Forget the pending samples: they will be asked for. Those of strangers are kept."""
        for key, track in self._proposed.items():
            ends = [track.newest_ms, track.cursor_ms, *(end for _, end in track.islands)]
            known = self._tracks[key]
            self._tracks[key] = replace(
                known, newest_ms=max(known.newest_ms, *ends), astray=known.astray or track.astray
            )
        self._proposed.clear()
        self.samples.clear()
        self.answered = False

    def due(self, now_s: float) -> list[Request]:
        """Give the requests to send now, for tracks whose bridge can be asked."""
        tracks = {
            key: track
            for key, track in self._tracks.items()
            if (key[0], key[1]) not in self._offline and key not in self._proposed
        }
        return self._requests.due(tracks, now_s)

    @property
    def holes(self) -> int:
        """Count the tracks with something missing."""
        return sum(track.hole() is not None for track in self._tracks.values())

    @property
    def lag_ms(self) -> int:
        """Give how far the cursor furthest behind is from the newest time known of its device."""
        return max(
            (t.newest_ms - t.cursor_ms for t in self._tracks.values() if t.hole() is not None),
            default=0,
        )
