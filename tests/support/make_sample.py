#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes pipelines/narrative-reports/sample: an invented conversation in the shapes of a Polis export.

Town, people and opinions are made up. Everyone belongs to one of three groups of opinion, each
statement says how likely a group is to agree and to disagree, and a seeded generator casts the
votes; so the same files come out every time.

Usage: make_sample.py FOLDER
"""
import collections
import csv
import datetime
import json
import pathlib
import random
import sys

TITLE = "What should become of Thornwick's market square?"
DESCRIPTION = """The market square is to be rebuilt in two years. Before anyone draws a plan, the town council \
would like to know what matters to you: cars or no cars, trees, stalls, evenings, money.

Vote on what others wrote, and add what is missing."""

START = datetime.datetime(2026, 3, 2, 17, 0, tzinfo=datetime.timezone.utc)
# People per group; those without a group voted too little to be placed.
GROUPS = {0: 24, 1: 20, 2: 15, None: 3}

TOPICS = {
    (0, 0): "Cars, parking and deliveries",
    (0, 1): "Trees, shade and water",
    (0, 2): "Stalls and shops",
    (0, 3): "Evenings, noise and light",
    (0, 4): "Getting around for everyone",
    (0, 5): "What it costs and who decides",
    (1, 0): "Moving across the square",
    (1, 1): "Life on the square",
    (1, 2): "Deciding together",
}
PARENT = {0: 0, 4: 0, 1: 1, 2: 1, 3: 1, 5: 2}

Statement = collections.namedtuple("Statement", "topic mod odds text")
# odds: per group, percent that agree and percent that disagree; the rest pass
STATEMENTS = [Statement(*s) for s in [
    (0, 1, [(92, 3), (10, 80), (45, 40)],
     "Close the market square to cars, except for deliveries before ten in the morning."),
    (0, 1, [(8, 82), (88, 6), (35, 42)],
     "If the parking spaces go, I will do my shopping at the retail park on the ring road."),
    (1, 1, [(95, 1), (84, 8), (88, 4)],
     "The square needs trees. In August you could fry an egg on the paving."),
    (2, 1, [(86, 4), (90, 3), (98, 1)],
     "The Saturday market has to stay where it has been for four hundred years."),
    (3, 1, [(25, 60), (15, 70), (93, 3)],
     "No more than two evening events a month, please - people live here."),
    (4, 1, [(90, 3), (86, 5), (93, 2)],
     "Put the bus stop back on the square; from Mill Lane it is too far for many of us."),
    (0, 1, [(15, 70), (94, 2), (50, 25)],
     "Parking should be free for the first 30 minutes."),
    (5, 1, [(85, 4), (93, 1), (95, 1)],
     "Nobody has explained what the rebuilding will cost, or who is going to pay for it."),
    (1, 1, [(94, 2), (87, 4), (94, 2)],
     "A drinking fountain, a few benches and a public toilet: that would change more than any master plan."),
    (4, 1, [(96, 1), (86, 5), (84, 6)],
     "The cobbles are a nightmare with a wheelchair, a pram or a walking frame. "
     "Lay at least one smooth path across."),
    (3, 1, [(84, 8), (78, 10), (10, 82)],
     "Café René should be allowed to keep its tables outside until eleven."),
    (0, 1, [(42, 32), (50, 25), (35, 28)],
     "Let it be flexible: cars on weekdays, people at the weekend."),
    (0, 1, [(80, 6), (10, 75), (55, 15)],
     '"Shared space" sounds nice, but drivers do not share.'),
    (0, 1, [(10, 60), (40, 22), (12, 55)],
     "An underground car park would solve everything."),
    (1, 1, [(38, 8), (30, 18), (35, 10)],
     "I don't know whether permeable paving works on clay soil. Has anybody asked an engineer?"),
    (2, 1, [(40, 14), (28, 30), (30, 32)],
     "The town should buy the empty bank building and turn it into a market hall."),
    (0, 1, [(62, 15), (97, 1), (72, 8)],
     "Delivery vans keep the shops alive.\nWhatever you plan, plan a loading bay."),
    (5, 1, [(35, 50), (80, 6), (95, 1)],
     "We should have a vote of all residents before a single stone is moved."),
    (2, 1, [(93, 2), (84, 6), (92, 3)],
     "More stalls with food from around here, fewer with phone cases."),
    (4, 1, [(18, 72), (84, 6), (94, 2)],
     "Cyclists should get off and push on market days."),
    (4, 1, [(97, 1), (45, 25), (40, 25)],
     "Secure bike stands at all four corners"),
    (3, 1, [(22, 60), (8, 84), (90, 4)],
     "Two weeks of Christmas market are enough."),
    (3, 1, [(88, 3), (84, 4), (97, 1)],
     "Street lamps that do not blind the upstairs flats would be a blessing."),
    (2, 1, [(72, 5), (28, 42), (42, 12)],
     "The rents are what is killing the shops, not the parking."),
    (5, 1, [(12, 66), (55, 15), (60, 12)],
     "The council has already decided, and this survey is decoration."),
    (1, 1, [(97, 1), (50, 24), (42, 34)],
     "Let children play there. A square without children is a car park with a church."),
    (1, 1, [(96, 1), (86, 4), (98, 1)],
     "Keep the old lime tree, even if it stands in the way of the plan."),
    (0, 1, [(16, 55), (66, 8), (38, 14)],
     "A one-way loop would calm the traffic without closing anything."),
    (1, 1, [(92, 2), (88, 3), (94, 2)],
     "Rain should go into the ground, not into my cellar."),
    (2, 1, [(85, 3), (35, 35), (30, 36)],
     "El mercado es para todos: room for newcomers, and half the fee in the first year."),
    (1, 1, [(24, 52), (80, 6), (94, 1)],
     'The "water mirror" is beautiful, and every Sunday we would be fishing beer cans out of it.'),
    (0, 1, [(28, 20), (34, 24), (48, 14)],
     "Residents' permits, fairly priced, would be better than meters."),
    (5, 1, [(96, 1), (62, 18), (60, 18)],
     "Begin with a trial summer: planters & paint cost little, and afterwards we would all know more."),
    (4, 1, [(90, 2), (96, 1), (97, 1)],
     "Disabled parking <20 m from the pharmacy has to stay, whatever happens to the rest."),
    (3, 1, [(90, 3), (64, 14), (8, 82)],
     "The weekly live music was the best thing that has happened here in years."),
    (4, 1, [(28, 10), (22, 15), (25, 12)],
     "Is the underpass at the station part of this? It should be."),
    (2, 1, [(84, 3), (88, 2), (80, 5)],
     "My father sold flowers here. I would like to do the same, but the licence takes nine months."),
    (5, 1, [(18, 32), (38, 18), (62, 8)],
     "A plan that costs more than the new school roof is out of all proportion."),
    (5, 1, [(95, 1), (85, 4), (88, 3)],
     "Publish the traffic counts. Everybody here, me included, argues from memory."),
    (None, 1, [(30, 25), (40, 20), (62, 8)],
     "Pigeons!! Please do something about the pigeons 🐦"),
    (None, -1, [(0, 90), (0, 90), (0, 90)],
     "CHEAP WATCHES, 80% off >>> thornwick-deals.example <<<"),
    (0, -1, [(20, 70), (15, 75), (10, 80)],
     "Only idiots drive to a market."),
    (2, 0, [(88, 3), (80, 6), (34, 40)],
     "Could there be a second market on Wednesday evenings, when commuters are back?"),
    (None, -1, [(5, 20), (5, 20), (5, 20)],
     "test"),
    (3, 0, [(40, 20), (30, 30), (55, 10)],
     "No smoking on the benches, maybe?"),
    (1, 1, [(60, 10), (40, 15), (44, 20)],
     "Sponsor a tree: I would give 50 € for one with a small brass plate."),
]]
# Statements that a topic names as typical of it; 39 belongs to none but by this.
SAMPLE_COMMENTS = {(0, 1): [2, 26], (0, 3): [10], (1, 1): [39]}


class Random(random.Random):
    def vote(self, odds):
        agree, disagree = odds
        roll = self.randrange(100)
        return 1 if roll < agree else -1 if roll < agree + disagree else 0


def stamp(when):
    return int(when.timestamp() * 1000), when.strftime("%a %b %d %H:%M:%S UTC %Y")


def make_people(rng):
    """Participant number -> group, shuffled; and who wrote which statement."""
    groups = [gid for gid, count in GROUPS.items() for _ in range(count)]
    rng.shuffle(groups)
    return groups


def written_at(number):
    return START + datetime.timedelta(minutes=0 if number < 8 else 47 * (number - 7))


def cast_votes(rng, groups):
    """(comment, person) -> the votes of that person on it, in the order they were cast."""
    votes = {}
    for person, gid in enumerate(groups):
        arrival = START + datetime.timedelta(minutes=35 * person + rng.randrange(30))
        count = rng.randrange(2, 5) if gid is None else rng.randrange(16, 32)
        open_to = [n for n, s in enumerate(STATEMENTS) if s.mod > -1 or rng.random() < 0.12]
        for number in sorted(rng.sample(open_to, count)):
            odds = STATEMENTS[number].odds[rng.randrange(3) if gid is None else gid]
            arrival = max(arrival, written_at(number)) + datetime.timedelta(
                seconds=rng.randrange(4, 40), milliseconds=rng.randrange(1000))
            cast = [(arrival, rng.vote(odds))]
            if rng.random() < 0.03:  # changed their mind
                arrival += datetime.timedelta(seconds=rng.randrange(60, 900))
                cast.append((arrival, {1: 0, 0: -1, -1: 1}[cast[0][1]]))
            votes[number, person] = cast
    return votes


def write(folder, name, header, rows):
    with open(folder / name, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        if header:
            out.writerow(header)
        out.writerows(rows)


def write_conversation(folder, groups, votes, authors):
    rows = []
    for number in reversed(range(len(STATEMENTS))):
        s = STATEMENTS[number]
        cast = [vote for (n, _), votes_ in votes.items() if n == number
                for _, vote in votes_]
        rows.append([*stamp(written_at(number)), number, authors[number], cast.count(1),
                     cast.count(-1), s.mod, s.text])
    write(folder, "comments.csv", ["timestamp", "datetime", "comment-id", "author-id", "agrees",
                                   "disagrees", "moderated", "comment-body"], rows)
    write(folder, "votes.csv", ["timestamp", "datetime", "comment-id", "voter-id", "vote"],
          [[*stamp(when), number, person, vote] for (number, person), cast in sorted(votes.items())
           for when, vote in cast])
    rows = []
    for person, gid in enumerate(groups):
        last = {n: cast[-1][1] for (n, p), cast in votes.items() if p == person}
        values = list(last.values())
        rows.append([person, "" if gid is None else gid, authors.count(person), len(values),
                     values.count(1), values.count(-1),
                     *(last.get(n, "") for n in range(len(STATEMENTS)))])
    write(folder, "participants-votes.csv", ["participant", "group-id", "n-comments", "n-votes",
                                             "n-agree", "n-disagree", *range(len(STATEMENTS))], rows)
    write(folder, "summary.csv", None, [
        ["topic", TITLE], ["url", "https://polis.example/7thornwick"], ["views", 431],
        ["voters", len(groups)], ["voters-in-conv", len(groups)], ["commenters", len(set(authors))],
        ["comments", len(STATEMENTS)], ["groups", 3], ["conversation-description", DESCRIPTION]])


def write_topics(folder):
    rows = []
    for (layer, cluster), name in TOPICS.items():
        samples = [STATEMENTS[n].text for n in SAMPLE_COMMENTS.get((layer, cluster), [])]
        rows.append(["layer%d_%d" % (layer, cluster), layer, cluster,
                     "%d_%d: %s" % (layer, cluster, name),
                     json.dumps(samples, ensure_ascii=False) if samples else ""])
    write(folder, "topics.csv", ["topic_key", "layer_id", "cluster_id", "topic_name",
                                 "sample_comments"], rows)
    write(folder, "assignments.csv", ["comment_id", "layer0_cluster_id", "layer1_cluster_id"],
          [[number, s.topic, PARENT[s.topic]] for number, s in enumerate(STATEMENTS)
           if s.topic is not None])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = Random(7)
    groups = make_people(rng)
    authors = [rng.randrange(len(groups)) for _ in STATEMENTS]
    write_conversation(folder, groups, cast_votes(rng, groups), authors)
    write_topics(folder)


main()
