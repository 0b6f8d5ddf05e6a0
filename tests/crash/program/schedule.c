/* SPDX-License-Identifier: MIT */
#include "schedule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct scenario scenarios[] = {
    {.name = "one", .records = 3, .batch = 3, .steps = {"run"}},
    {.name = "batches", .records = 7, .batch = 3, .steps = {"run"}},
    {.name = "sqlite", .records = 5, .batch = 2, .steps = {"run"}, .sqlite = true},
    {.name = "fresh", .records = 3, .batch = 2, .steps = {"run"}, .fresh = true},
    {.name = "twins", .records = 6, .batch = 2, .steps = {"run"}, .twins = true},
    {.name = "later",
     .records = 5,
     .batch = 2,
     .steps = {"create", "fetch --all-pending --wait"}},
    {.name = "cancel", .records = 4, .batch = 2, .steps = {"create", "cancel job-1 --wait"}},
    {.name = "recover", .records = 4, .batch = 2, .steps = {"create", "recover"}},
};
const int scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);

const struct provider_kind providers[] = {
    {"anthropic", "claude-haiku-4-5"},
    {"openai", "gpt-6-luna"},
    {"gemini", "gemini-3.6-flash"},
    {"mistral", "mistral-large-2512"},
};
const int provider_count = sizeof(providers) / sizeof(providers[0]);

/* Regressions name them by their place: new ones go to the end. */
const struct rule_kind rule_kinds[] = {
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"drop_before_commit\"}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"drop_after_commit\"}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"status_after_commit\",\"status\":500}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"status_before_commit\",\"status\":529}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"rate_limit\",\"seconds\":7}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"cut_body\"}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"html_body\"}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"accept_late\",\"ms\":0}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"list_lag\",\"ms\":60000}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"created_skew\",\"ms\":-3600000}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"flap_after_create\",\"count\":2}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"flap_after_end\",\"count\":2}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"counts_lie\"}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"unknown_status\"}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"extra_fields\"}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"late_output\",\"count\":3}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"slow\",\"ms\":3600000}", false},
    {"{\"on\":\"get\",\"nth\":%d,\"do\":\"drop_before_commit\"}", false},
    {"{\"on\":\"get\",\"nth\":%d,\"do\":\"not_found\"}", false},
    {"{\"on\":\"get\",\"nth\":%d,\"do\":\"state_regress\"}", false},
    {"{\"on\":\"get\",\"nth\":%d,\"do\":\"html_body\"}", false},
    {"{\"on\":\"list\",\"nth\":%d,\"do\":\"status_before_commit\",\"status\":500}", false},
    {"{\"on\":\"list\",\"nth\":%d,\"do\":\"cut_body\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"cut_body\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"truncate_results\",\"lines\":1}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"duplicate_line\"}", false},
    {"{\"on\":\"upload\",\"nth\":%d,\"do\":\"drop_after_commit\"}", false},
    {"{\"on\":\"upload\",\"nth\":%d,\"do\":\"status_before_commit\",\"status\":500}", false},
    {"{\"on\":\"files\",\"nth\":%d,\"do\":\"status_before_commit\",\"status\":503}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"error_line\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"expire_line\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"drop_line\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"corrupt_line\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"null_id\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"rename_id\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"status_zero\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"invalid_answer\",\"how\":\"not_json\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"invalid_answer\",\"how\":\"missing\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"truncated_answer\"}", false},
    {"{\"on\":\"results\",\"nth\":%d,\"do\":\"refusal\"}", false},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"expire\",\"percent\":50}", true},
    {"{\"on\":\"create\",\"nth\":%d,\"do\":\"vanish\",\"ms\":500}", true},
};
const int rule_kind_count = sizeof(rule_kinds) / sizeof(rule_kinds[0]);

#define FAULT_NAME(kind, name) name,
static const char *const fault_names[] = {FAULT_KINDS(FAULT_NAME)};
#undef FAULT_NAME

uint64_t schedule_chance(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static int64_t below(uint64_t *seed, int64_t limit)
{
    return (int64_t)(schedule_chance(seed) % (uint64_t)limit);
}

void schedule_pick(uint64_t seed, int *ret_scenario, int *ret_provider)
{
    seed ^= 0x5bd1e995;
    *ret_scenario = (int)below(&seed, scenario_count);
    *ret_provider = (int)below(&seed, provider_count);
}

static int by_point(const void *a, const void *b)
{
    const struct fault *x = a, *y = b;
    return x->point < y->point ? -1 : x->point > y->point;
}

/* Each seed leaves out half of the kinds, so that those left meet more often (TigerBeetle's swarm). */
void schedule_random(struct schedule *s, uint64_t seed, int scenario, int provider,
                     int64_t points)
{
    static const enum fault_kind kinds[] = {FAULT_KILL,  FAULT_KILL,   FAULT_POWER, FAULT_POWER,
                                            FAULT_POWER, FAULT_ERROR,  FAULT_ERROR, FAULT_FULL,
                                            FAULT_CLOCK, FAULT_COMPETE};
    const int count = sizeof(kinds) / sizeof(kinds[0]);
    *s = (struct schedule){.scenario = scenario, .provider = provider, .seed = seed};
    uint64_t mask = schedule_chance(&seed) | 1ULL << (schedule_chance(&seed) % (uint64_t)count);
    s->fault_count = (int)(1 + below(&seed, 6));
    for (int i = 0; i < s->fault_count; i++) {
        int64_t kind;
        do
            kind = below(&seed, count);
        while (!(mask >> kind & 1));
        s->faults[i] = (struct fault){.point = 1 + below(&seed, points + points / 3),
                                      .kind = kinds[kind],
                                      .arg = below(&seed, 4096)};
    }
    qsort(s->faults, (size_t)s->fault_count, sizeof(s->faults[0]), by_point);
    s->rule_count = (int)below(&seed, RULES_MAX);
    for (int i = 0; i < s->rule_count; i++) {
        int64_t kind = below(&seed, rule_kind_count);
        /* A day of polls is forty times the points of an ordinary run: these are for the few. */
        if (rule_kinds[kind].days && below(&seed, 5))
            kind = below(&seed, rule_kind_count);
        s->rules[i] = (struct rule){.kind = (int)kind, .nth = (int)(1 + below(&seed, 4))};
    }
}

void schedule_format(const struct schedule *s, char ret[SCHEDULE_TEXT])
{
    int at = snprintf(ret, SCHEDULE_TEXT,
                      "%s/%s seed=%" PRIu64 " faults=", providers[s->provider].name,
                      scenarios[s->scenario].name, s->seed);
    for (int i = 0; i < s->fault_count; i++)
        at += snprintf(ret + at, (size_t)(SCHEDULE_TEXT - at), "%s%" PRId64 ":%s:%" PRId64,
                       i ? "," : "", s->faults[i].point, fault_names[s->faults[i].kind],
                       s->faults[i].arg);
    at += snprintf(ret + at, (size_t)(SCHEDULE_TEXT - at), " rules=");
    for (int i = 0; i < s->rule_count; i++)
        at += snprintf(ret + at, (size_t)(SCHEDULE_TEXT - at), "%s%d:%d", i ? "," : "",
                       s->rules[i].kind, s->rules[i].nth);
}

static bool parse_where(const char *text, struct schedule *s)
{
    char provider[32], scenario[32];
    if (sscanf(text, "%31[a-z]/%31[a-z]", provider, scenario) != 2)
        return false;
    s->provider = s->scenario = -1;
    for (int i = 0; i < provider_count; i++) {
        if (strcmp(providers[i].name, provider) == 0)
            s->provider = i;
    }
    for (int i = 0; i < scenario_count; i++) {
        if (strcmp(scenarios[i].name, scenario) == 0)
            s->scenario = i;
    }
    return s->provider >= 0 && s->scenario >= 0;
}

static bool parse_fault(const char *text, struct fault *ret)
{
    char name[16];
    if (sscanf(text, "%" SCNd64 ":%15[a-z]:%" SCNd64, &ret->point, name, &ret->arg) != 3)
        return false;
    for (int i = 0; i < FAULT_KIND_COUNT; i++) {
        if (strcmp(fault_names[i], name) == 0) {
            ret->kind = (enum fault_kind)i;
            return true;
        }
    }
    return false;
}

bool schedule_parse(const char *text, struct schedule *ret)
{
    *ret = (struct schedule){0};
    const char *seed = strstr(text, "seed="), *faults = strstr(text, "faults="),
               *rules = strstr(text, "rules=");
    if (!parse_where(text, ret) || !seed || !faults || !rules)
        return false;
    ret->seed = strtoull(seed + 5, NULL, 10);
    for (const char *at = faults + 7; *at && *at != ' ' && ret->fault_count < FAULTS_MAX;) {
        if (!parse_fault(at, &ret->faults[ret->fault_count++]))
            return false;
        at += strcspn(at, ", ");
        at += *at == ',';
    }
    for (const char *at = rules + 6; *at && *at != ' ' && *at != '\n';) {
        if (ret->rule_count == RULES_MAX ||
            sscanf(at, "%d:%d", &ret->rules[ret->rule_count].kind,
                   &ret->rules[ret->rule_count].nth) != 2 ||
            ret->rules[ret->rule_count].kind >= rule_kind_count)
            return false;
        ret->rule_count++;
        at += strcspn(at, ", \n");
        at += *at == ',';
    }
    return true;
}
