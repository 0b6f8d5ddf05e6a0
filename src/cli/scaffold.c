/* SPDX-License-Identifier: MIT */
#include "cli/scaffold.h"

#include <stddef.h>

const struct op_scaffold_file op_scaffold[] = {
    {"pipeline.yaml",
     "# What is asked, of which records, and where the answers go. All keys: offpeak help "
     "pipeline\n"
     "pipeline: {{name}}\n"
     "about: Labels open support tickets\n"
     "\n"
     "# Each becomes an option: --path, --out.\n"
     "params:\n"
     "  path: {about: CSV file of tickets, type: path, default: \"{{dir}}/tickets.csv\"}\n"
     "  out: {about: CSV file for the labels, type: path, default: \"{{dir}}/labels.csv\"}\n"
     "\n"
     "# What is read: tables for the SELECTs below.\n"
     "inputs:\n"
     "  tickets: {csv: \"{{path}}\"}\n"
     "\n"
     "# The records: `key` names each one, the other columns are there for the prompt.\n"
     "records: SELECT id AS key, subject, body FROM tickets WHERE status = 'open'\n"
     "\n"
     "requests:\n"
     "  label:\n"
     "    model: claude-haiku-5-5\n"
     "    max_tokens: 300\n"
     "    system: system.md\n"
     "    user: user.md\n"
     "    answer: label.schema.json\n"
     "\n"
     "# What an answer must hold beyond its schema: each row says what is wrong, and the model is\n"
     "# asked once more with that list.\n"
     "checks:\n"
     "  - SELECT 'reason must be one sentence, not empty' FROM answers\n"
     "    WHERE trim(answer ->> 'reason') = ''\n"
     "\n"
     "# Where rows go, and which row replaces which.\n"
     "outputs:\n"
     "  - csv: \"{{out}}\"\n"
     "    key: [id]\n"
     "    rows: SELECT key AS id, answer ->> 'label' AS label, answer ->> 'reason' AS reason FROM "
     "answers\n"
     "\n"
     "# How `offpeak show` prints an answer.\n"
     "display: \"{{label}}: {{reason}}\"\n"},
    {"system.md",
     "You label support tickets of a software company. Read the ticket, choose the "
     "label that fits\nbest, and give your reason in one sentence.\n"},
    {"user.md", "Subject: {{subject}}\n\n{{body}}\n"},
    {"label.schema.json",
     "{\n"
     "  \"type\": \"object\",\n"
     "  \"properties\": {\n"
     "    \"label\": {\"type\": \"string\", \"enum\": [\"billing\", \"bug\", \"account\", "
     "\"how-to\", \"other\"]},\n"
     "    \"reason\": {\"type\": \"string\"}\n"
     "  },\n"
     "  \"required\": [\"label\", \"reason\"],\n"
     "  \"additionalProperties\": false\n"
     "}\n"},
    {"tickets.csv",
     "id,status,subject,body\n"
     "t1,open,Charged twice in May,\"My card shows two charges of 12.90, both from the 3rd.\"\n"
     "t2,open,App closes when I rotate the phone,\"Every time, since the update on Monday.\"\n"
     "t3,closed,Thanks!,\"All good now.\"\n"
     "t4,open,Cannot log in,\"The reset mail never arrives, and yes, I looked in spam.\"\n"
     "t5,open,How do I export a report?,\"I need it as PDF, with the charts.\"\n"},
    {NULL, NULL},
};
