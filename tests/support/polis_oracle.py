# SPDX-License-Identifier: MIT
"""What a Polis export's report sections must be, calculated without SQL.

Model:   one pass over the CSV files with the csv module, then plain loops. Nothing here is shared
         with pipelines/narrative-reports: this is the second opinion its tests compare with.
"""
import csv
import json
import os
import re
import unicodedata
from fractions import Fraction
from itertools import combinations

csv.field_size_limit(1 << 30)

GLOBAL_NAMES = {
    "global_groups": "Where the groups differ",
    "global_group_informed_consensus": "What the groups share",
    "global_uncertainty": "Where people are unsure",
}
# Characters that XML 1.0 has no way to write.
ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def table(folder, name):
    """The rows of a CSV file as dicts; none when the file is not there."""
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def summary(folder):
    path = os.path.join(folder, "summary.csv")
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {row[0]: row[1] for row in csv.reader(file) if row}


class Tally:
    def __init__(self):
        self.votes = self.agrees = self.disagrees = self.passes = 0

    def add(self, vote):
        self.votes += 1
        self.agrees += vote == 1
        self.disagrees += vote == -1
        self.passes += vote == 0

    def attributes(self):
        return {"votes": self.votes, "agrees": self.agrees, "disagrees": self.disagrees,
                "passes": self.passes}


class Comment:
    def __init__(self, number, text, gids):
        self.id = number
        self.text = text
        self.all = Tally()
        self.groups = {gid: Tally() for gid in gids}

    def voting(self):
        return [t for _, t in sorted(self.groups.items()) if t.votes]

    def consensus(self):
        if len(self.voting()) < 2:
            return 0.0
        product = Fraction(1)
        for tally in self.groups.values():
            product *= Fraction(tally.agrees + 1, tally.votes + 2)
        return float(product)

    def extremity(self):
        differences = []
        for a, b in combinations(self.voting(), 2):
            differences.append(max(abs(a.agrees / a.votes - b.agrees / b.votes),
                                   abs(a.disagrees / a.votes - b.disagrees / b.votes),
                                   abs(a.passes / a.votes - b.passes / b.votes)))
        return sum(differences) / len(differences) if differences else 0.0

    def doubt(self):
        return self.all.passes / self.all.votes if self.all.votes else 0.0

    def informed(self):
        threshold = {2: 0.7, 3: 0.47, 4: 0.32}.get(len(self.voting()), 0.24)
        return self.consensus() > threshold


class Section:
    def __init__(self, key, name, comments, room, metric):
        self.key = key
        self.name = name
        if len(comments) > room:
            # sorted() is stable: of equals, the one that came first stays first
            comments = sorted(comments, key=lambda c: (-metric(c), -c.all.votes))[:room]
        self.comments = comments
        self.ids = [c.id for c in comments]

    def xml(self):
        lines = ['<?xml version="1.0" ?>', "<polis-comments>"]
        for c in self.comments:
            lines.append("  <comment id=\"%d\"%s>" % (c.id, attributes(c.all)))
            lines.append("    <text>%s</text>" % escape(c.text))
            for gid, tally in sorted(c.groups.items()):
                lines.append("    <group-%d%s/>" % (gid, attributes(tally)))
            lines.append("  </comment>")
        return "\n".join(lines + ["</polis-comments>"])


def attributes(tally):
    return "".join(' %s="%d"' % pair for pair in tally.attributes().items())


def escape(text):
    text = ILLEGAL.sub("", text).replace("&", "&amp;")
    return text.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def fold(text):
    return unicodedata.normalize("NFKC", text).casefold()


def read_comments(folder):
    """Comments that may be shown, in the file's order, with everybody's last votes."""
    excluded = {int(row["comment-id"]) for row in table(folder, "selections.csv")
                if int(row["selection"]) == -1}
    group_of = {int(row["participant"]): int(row["group-id"])
                for row in table(folder, "participants-votes.csv") if row["group-id"].strip()}
    gids = sorted(set(group_of.values()))
    comments = {}
    for row in table(folder, "comments.csv"):
        number = int(row["comment-id"])
        if int(row["moderated"]) > -1 and number not in excluded:
            comments[number] = Comment(number, row["comment-body"], gids)
    last = {}
    for row in table(folder, "votes.csv"):
        last[int(row["comment-id"]), int(row["voter-id"])] = int(row["vote"])
    for (number, person), vote in last.items():
        if number in comments:
            comments[number].all.add(vote)
            if person in group_of:
                comments[number].groups[group_of[person]].add(vote)
    return list(comments.values())


def room(base, count):
    if count > 10000:
        base = int(base * 0.5)
    elif count > 5000:
        base = int(base * 0.75)
    elif count > 2000:
        base = int(base * 0.9)
    return max(base, 10)


def topic_sections(folder, comments):
    """(layer, citations, section), in the order of topics.csv."""
    clusters = {int(row["comment_id"]): row for row in table(folder, "assignments.csv")}
    layers = {int(name[5:-11]) for row in clusters.values() for name, value in row.items()
              if re.fullmatch(r"layer\d+_cluster_id", name) and (value or "").strip()}
    found = []
    for row in table(folder, "topics.csv"):
        layer, cluster = int(row["layer_id"]), int(row["cluster_id"])
        if layer not in layers:
            continue
        column = "layer%d_cluster_id" % layer
        cited = {number for number, place in clusters.items()
                 if (place.get(column) or "").strip() and int(place[column]) == cluster}
        samples = [fold(s) for s in json.loads(row.get("sample_comments") or "[]") if s]
        members = [c for c in comments if c.id in cited or
                   (c.text and any(s in fold(c.text) or fold(c.text) in s for s in samples))]
        key = row["topic_key"] or "layer%d_%d" % (layer, cluster)
        base = 100 if layer == 0 else 50 if layer >= 2 else 75
        section = Section(key.replace("#", "_"), row["topic_name"], members,
                          room(base, len(comments)),
                          lambda c: c.all.agrees + c.all.disagrees)
        found.append((layer, sum(c.id in cited for c in comments), section))
    return found


def sections(folder, extremity=0.3):
    """The sections that have comments, in the order they are asked for."""
    comments = read_comments(folder)
    limit = room(50, len(comments))
    wanted = [
        ("global_groups", [c for c in comments if c.extremity() > extremity],
         lambda c: c.extremity() * 1000),
        ("global_group_informed_consensus", [c for c in comments if c.informed()],
         lambda c: c.consensus() * 1000),
        ("global_uncertainty", [c for c in comments if c.all.votes and c.doubt() >= 0.2],
         lambda c: c.doubt() * 1000),
    ]
    result = [Section(key, GLOBAL_NAMES[key], chosen, limit, metric)
              for key, chosen, metric in wanted]
    topics = topic_sections(folder, comments)
    result += [section for _, _, section in sorted(topics, key=lambda t: (t[0], -t[1]))]
    return [section for section in result if section.ids]
