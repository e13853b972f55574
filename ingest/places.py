"""Where recordings are now, by name or by content; on disk, for there may be a million."""

from __future__ import annotations

import json

from ingest.discovery import Candidate
from ingest.on_disk import temporary_database
from ingest.remote_files import place_of


class Places:
    """Candidates by a key."""

    def __init__(self) -> None:
        schema = "CREATE TABLE places (key TEXT PRIMARY KEY, candidate TEXT NOT NULL) WITHOUT ROWID"
        self._database = temporary_database(self, schema)

    def put(self, key: str, candidate: Candidate) -> None:
        """Keep a candidate, unless there is one for the key."""
        query = "INSERT OR IGNORE INTO places VALUES (?, ?)"
        self._database.execute(query, (key, _to_json(candidate)))

    def get(self, key: str) -> Candidate | None:
        """Return the candidate of a key; None where there is none."""
        row = self._database.execute("SELECT candidate FROM places WHERE key = ?", (key,)).fetchone()
        return _from_json(row[0]) if row else None

    def __contains__(self, key: str) -> bool:
        return self._database.execute("SELECT 1 FROM places WHERE key = ?", (key,)).fetchone() is not None


def _to_json(candidate: Candidate) -> str:
    paths, sidecars = ([str(path) for path in some] for some in (candidate.paths, candidate.sidecars))
    return json.dumps([candidate.name, candidate.kind, paths, sidecars, candidate.episode])


def _from_json(text: str) -> Candidate:
    name, kind, paths, sidecars, episode = json.loads(text)
    return Candidate(name, kind, tuple(map(place_of, paths)), tuple(map(place_of, sidecars)), episode)
