// The official OpenAI TypeScript SDK against the emulator: openai_sdk.mjs URL plain|faults.
//
// Behaviour: files, batches and the realtime calls of the SDK work unmodified. Oracle: the SDK's own
// classes, and the facts of the API reference.
import OpenAI, { toFile } from 'openai';
import { createReadStream, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, collect, finish, raises, until } from './checks.mjs';

const [url, kind] = process.argv.slice(2);
const manifest = new URL('node_modules/openai/package.json', import.meta.url);
const version = JSON.parse(readFileSync(manifest)).version;
const model = 'gpt-4.1-mini';
const CHAT = '/v1/chat/completions';
const RESPONSES = '/v1/responses';
const schema = {
  type: 'object',
  additionalProperties: false,
  required: ['label'],
  properties: { label: { type: 'string', enum: ['bug', 'idea'] } },
};

function line(custom_id, changes = {}, where = CHAT, name = model) {
  const text = `Classify ${custom_id}: the printer is on fire`;
  const ask = where === CHAT ? { messages: [{ role: 'user', content: text }] } : { input: text };
  return { custom_id, method: 'POST', url: where, body: { model: name, ...ask, ...changes } };
}

const jsonl = (lines) => lines.map((item) => JSON.stringify(item) + '\n').join('');

async function upload(client, lines, name = 'batch.jsonl') {
  return client.files.create({ file: await toFile(Buffer.from(jsonl(lines)), name), purpose: 'batch' });
}

async function create(client, lines, endpoint = CHAT, more = {}) {
  const file = await upload(client, lines);
  return client.batches.create({
    input_file_id: file.id,
    endpoint,
    completion_window: '24h',
    ...more,
  });
}

const over = ['completed', 'failed', 'expired', 'cancelled'];
const ended = (client, batch) =>
  until(batch.id, () => client.batches.retrieve(batch.id), (b) => over.includes(b.status));

async function linesOf(client, id) {
  const text = await (await client.files.content(id)).text();
  const all = text.trimEnd().split('\n').map((item) => JSON.parse(item));
  return Object.fromEntries(all.map((item) => [item.custom_id, item]));
}

async function files(client) {
  const one = await upload(client, [line('a')]);
  check('file', one.id.startsWith('file-') && one.status === 'processed', one);
  check('30 days', one.expires_at === one.created_at + 2592000, one);
  const folder = mkdtempSync(join(tmpdir(), 'offpeak-'));
  const path = join(folder, 'streamed.jsonl');
  const lines = Array.from({ length: 3000 }, (_, i) => line(`r-${i}`));
  writeFileSync(path, jsonl(lines));
  const chunked = await client.files.create({ file: createReadStream(path), purpose: 'batch' });
  check('a stream, in chunks', chunked.filename === 'streamed.jsonl' &&
        chunked.bytes === jsonl(lines).length, chunked);
  const back = await (await client.files.content(chunked.id)).text();
  check('content', back === jsonl(lines), back.length);
  const short = await client.files.create({
    file: await toFile(Buffer.from(jsonl([line('b')])), 'b.jsonl'),
    purpose: 'batch',
    expires_after: { anchor: 'created_at', seconds: 3600 },
  });
  check('expires_after', short.expires_at === short.created_at + 3600, short);
  const ids = (await collect(client.files.list({ limit: 2 }))).map((item) => item.id);
  check('list pages', ids.join() === [short.id, chunked.id, one.id].join(), ids);
  const asc = (await collect(client.files.list({ purpose: 'batch', order: 'asc' }))).map((f) => f.id);
  check('order', asc.join() === [...ids].reverse().join(), asc);
  const gone = await client.files.delete(short.id);
  check('delete', gone.deleted === true, gone);
  await raises('deleted', OpenAI.NotFoundError, 'No such File object', () =>
    client.files.retrieve(short.id),
  );
  await raises('name', OpenAI.BadRequestError, 'Must be .jsonl', () =>
    upload(client, [line('a')], 'a.json'),
  );
  const seen = await client.files.waitForProcessing(one.id);
  check('waitForProcessing', seen.status === 'processed', seen);
}

async function batches(client) {
  const made = [];
  for (let i = 0; i < 5; i++) made.push(await create(client, [line(`one-${i}`)]));
  const lines = [
    line('good'),
    line('json', {
      response_format: { type: 'json_schema', json_schema: { name: 'label', strict: true, schema } },
    }),
    line('unknown', { surprise: 1 }),
  ];
  const first = await create(client, lines, CHAT, { metadata: { tag: 't-1' } });
  check('create', first.id.startsWith('batch_') && first.status === 'validating', first);
  check('nulls', first.errors === null && first.output_file_id === null &&
        first.completed_at === null && first.expires_at === first.created_at + 86400, first);
  check('metadata', first.metadata.tag === 't-1', first.metadata);
  const ids = (await collect(client.batches.list({ limit: 2 }))).map((b) => b.id);
  check('list', ids.join() === [first, ...made.reverse()].map((b) => b.id).join(), ids);
  const done = await ended(client, first);
  const counts = done.request_counts;
  check('counts', counts.completed === 2 && counts.failed === 1 && counts.total === 3, counts);
  const out = await linesOf(client, done.output_file_id);
  const bad = await linesOf(client, done.error_file_id);
  check('lines', Object.keys(out).sort().join() === 'good,json' && bad.unknown, [out, bad]);
  check('body', out.good.response.body.choices[0].message.content.length > 0, out.good);
  const label = JSON.parse(out.json.response.body.choices[0].message.content).label;
  check('schema', ['bug', 'idea'].includes(label), label);
  check('error line', bad.unknown.response.status_code === 400 && bad.unknown.error === null,
        bad.unknown);
  check('usage', done.usage.total_tokens > 0 && done.model === model, done);
  await raises('late cancel', OpenAI.ConflictError, "with status 'completed'", () =>
    client.batches.cancel(first.id, { maxRetries: 0 }),
  );
  const running = await create(client, [line('x'), line('y')]);
  const cancelling = await client.batches.cancel(running.id);
  check('cancel', cancelling.status === 'cancelling', cancelling);
  const stopped = await ended(client, running);
  check('cancelled', stopped.status === 'cancelled' && stopped.cancelled_at > 0, stopped);
  const failed = await ended(client, await create(client, [line('a'), line('a')]));
  check('validation', failed.status === 'failed' &&
        failed.errors.data[0].code === 'duplicate_custom_id' && failed.errors.data[0].line === 2, failed);
  await raises('unknown', OpenAI.NotFoundError, 'No batch found', () =>
    client.batches.retrieve('batch_0'),
  );
}

async function realtime(client) {
  const answer = await client.responses.create({
    model: 'gpt-5',
    input: 'Say one two three',
    service_tier: 'flex',
  });
  check('response', answer.output_text.length > 0 && answer.output[0].type === 'reasoning', answer);
  check('flex', answer.service_tier === 'flex', answer.service_tier);
  const parsed = await client.responses.parse({
    model,
    input: 'Label it',
    text: { format: { type: 'json_schema', name: 'label', strict: true, schema } },
  });
  check('structured', ['bug', 'idea'].includes(parsed.output_parsed.label), parsed.output_text);
  const chat = await client.chat.completions.create({
    model,
    messages: [{ role: 'user', content: 'hi' }],
  });
  check('chat', chat.choices[0].finish_reason === 'stop' && chat._request_id, chat);
  const vectors = await client.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'] });
  check('embeddings', vectors.data.length === 2 && vectors.data[0].embedding.length === 1536);
  const floats = await client.embeddings.create({
    model: 'text-embedding-3-small',
    input: 'a',
    encoding_format: 'float',
  });
  check('both forms', Math.abs(floats.data[0].embedding[7] - vectors.data[0].embedding[7]) < 1e-6);
  await raises('model', OpenAI.NotFoundError, 'does not exist', () =>
    client.responses.create({ model: 'gpt-does-not-exist', input: 'x' }),
  );
  const prefixed = new OpenAI({ baseURL: `${url}/openai/v1`, apiKey: 'k' });
  check('prefix', (await prefixed.models.retrieve(model)).id === model);
  check('responses in a batch', await (async () => {
    const done = await ended(client, await create(client, [line('r', {}, RESPONSES)], RESPONSES));
    const out = await linesOf(client, done.output_file_id);
    return out.r.response.body.output.at(-1).content[0].text.length > 0;
  })());
}

async function plain(client) {
  await files(client);
  await batches(client);
  await realtime(client);
}

async function faults(client) {
  const made = await create(client, [line('a'), line('zero'), line('lost'), line('twice')]);
  check('create is sent again', (await client.batches.list()).data.length === 2);
  const done = await ended(client, made);
  check('counts that lie', done.request_counts.failed === 0, done.request_counts);
  const text = await (await client.files.content(done.output_file_id)).text();
  const ids = text.trimEnd().split('\n').map((item) => JSON.parse(item).custom_id);
  check('missing and twice', ids.sort().join() === 'a,twice,twice', ids);
  const bad = await linesOf(client, done.error_file_id);
  check('status 0', bad.zero.response.status_code === 0, bad);
  const empty = await ended(client, await create(client, [line('c')]));
  check('empty string', empty.error_file_id === '', empty);
  const full = await ended(client, await create(client, [line('d')]));
  check('token_limit_exceeded', full.errors.data[0].code === 'token_limit_exceeded', full);
  const old = await ended(client, await create(client, [line('expire-a')]));
  check('expired', old.status === 'expired' && !old.output_file_id && old.error_file_id, old);
  const late = await ended(client, await create(client, [line('e')]));
  check('no output yet', late.status === 'completed' && late.output_file_id === null, late);
  check('output at last', (await client.batches.retrieve(late.id)).output_file_id !== null);
  const refused = await client.responses.create({ model, input: 'please-refuse' });
  check('refusal', refused.output[0].content[0].type === 'refusal', refused);
  await raises('quota', OpenAI.RateLimitError, 'exceeded your current quota', () =>
    client.responses.create({ model, input: 'broke' }, { maxRetries: 0 }),
  );
  const answer = await client.responses.create({ model, input: 'busy' });
  check('429 is retried', answer.output_text.length > 0, answer);
  await raises('no batches here', OpenAI.NotFoundError, 'Not found', () => create(client, [line('z')]));
}

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'k' });
await { plain, faults }[kind](client);
finish(`node openai ${version} ${kind}`);
