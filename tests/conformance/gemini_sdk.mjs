// The official Google Gen AI TypeScript SDK against the emulator: gemini_sdk.mjs URL plain|faults.
//
// Behaviour: files, batches and the realtime calls of the SDK work unmodified. Oracle: the SDK's own
// classes, and the facts of the API reference.
import { ApiError, GoogleGenAI } from '@google/genai';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, collect, finish, raises, until } from './checks.mjs';

const [url, kind] = process.argv.slice(2);
const manifest = new URL('node_modules/@google/genai/package.json', import.meta.url);
const version = JSON.parse(readFileSync(manifest)).version;
const folder = mkdtempSync(join(tmpdir(), 'offpeak-'));
const model = 'gemini-2.5-flash';
const schema = {
  type: 'object',
  required: ['label'],
  properties: { label: { type: 'string', enum: ['bug', 'idea'] } },
};

const ask = (text, more = {}) => ({ contents: [{ role: 'user', parts: [{ text }] }], ...more });
const line = (key, more) => ({ key, request: ask('Classify: the printer is on fire', more) });
const jsonl = (lines) => lines.map((item) => JSON.stringify(item) + '\n').join('');

async function upload(client, text, config = {}) {
  const file = new Blob([text], { type: 'application/jsonl' });
  return client.files.upload({ file, config: { mimeType: 'application/jsonl', ...config } });
}

async function create(client, lines, displayName) {
  const file = await upload(client, jsonl(lines));
  return client.batches.create({ model, src: file.name, config: displayName ? { displayName } : {} });
}

const over = ['SUCCEEDED', 'FAILED', 'CANCELLED', 'EXPIRED'].map((word) => `JOB_STATE_${word}`);
const ended = (client, job) =>
  until(job.name, () => client.batches.get({ name: job.name }), (j) => over.includes(j.state));

async function linesOf(client, job) {
  const downloadPath = join(folder, `${Math.random()}.jsonl`);
  await client.files.download({ file: job.dest.fileName, downloadPath });
  // The SDK does not wait until the file is written.
  const text = await until('the download', () => {
    try {
      return readFileSync(downloadPath, 'utf8');
    } catch {
      return '';
    }
  }, (seen) => seen.endsWith('\n'));
  return text.trimEnd().split('\n').map((item) => JSON.parse(item));
}

async function plain(client) {
  const one = await upload(client, jsonl([line('a')]), { displayName: 'requests of today' });
  check('file', one.name.startsWith('files/') && one.state === 'ACTIVE', one);
  check('display name', one.displayName === 'requests of today', one);
  check('48 hours', Date.parse(one.expirationTime) - Date.parse(one.createTime) === 172800000, one);
  const path = join(folder, 'big.jsonl');
  writeFileSync(path, '{"key":"x"}\n'.repeat(1000000));
  const big = await client.files.upload({ file: path, config: { mimeType: 'application/jsonl' } });
  check('two chunks of a file', big.sizeBytes === '12000000', big);
  const names = (await collect(await client.files.list({ config: { pageSize: 1 } }))).map((f) => f.name);
  check('list pages', names.join() === [big.name, one.name].join(), names);
  await client.files.delete({ name: big.name });
  await raises('deleted is 403', ApiError, 'PERMISSION_DENIED', () =>
    client.files.get({ name: big.name }),
  );

  const lines = [
    line('a'),
    line('json', {
      generationConfig: { responseMimeType: 'application/json', responseJsonSchema: schema },
    }),
    line('bad', { nonsense: 1 }),
  ];
  const job = await create(client, lines, 'tag-1');
  check('create', job.name.length === 44 && job.state === 'JOB_STATE_PENDING', job);
  check('tag', job.displayName === 'tag-1', job);
  const done = await ended(client, job);
  check('output', done.dest.fileName === `files/batch-${job.name.split('/')[1]}`, done);
  const out = await linesOf(client, done);
  check('keys in order', out.map((item) => item.key).join() === 'a,json,bad', out);
  check('usage', out[0].response.usageMetadata.totalTokenCount > 0, out[0]);
  const label = JSON.parse(out[1].response.candidates[0].content.parts[0].text).label;
  check('schema', ['bug', 'idea'].includes(label), label);
  check('item error', out[2].error.code === 3, out[2]);

  const small = await client.batches.create({
    model,
    src: [{ ...ask('one'), metadata: { key: 'k-1' } }, { ...ask('two'), metadata: { key: 'k-2' } }],
  });
  const items = (await ended(client, small)).dest.inlinedResponses;
  check('inline', items.length === 2 && items[0].response.candidates.length === 1, items);
  check('inline metadata', items[1].metadata?.key === 'k-2' || items[1].metadata === undefined, items);
  const jobs = (await collect(await client.batches.list({ config: { pageSize: 1 } }))).map((j) => j.name);
  check('list pages', jobs.join() === [small.name, job.name].join(), jobs);
  const waiting = await create(client, [line('x')]);
  await client.batches.cancel({ name: waiting.name });
  const stopped = await ended(client, waiting);
  check('canceled before the start', stopped.state === 'JOB_STATE_CANCELLED' && !stopped.dest?.fileName,
        stopped);
  await client.batches.delete({ name: job.name });
  await raises('deleted', ApiError, 'NOT_FOUND', () => client.batches.get({ name: job.name }));
  const embeds = await client.batches.createEmbeddings({
    model: 'gemini-embedding-001',
    src: { inlinedRequests: { contents: ['one', 'two'], config: { outputDimensionality: 4 } } },
  });
  const vectors = (await ended(client, embeds)).dest.inlinedEmbedContentResponses;
  check('embeddings inline', vectors.map((v) => v.response.embedding.values.length).join() === '4,4',
        vectors);

  const answer = await client.models.generateContent({ model, contents: 'Say one two three' });
  check('generate', answer.text.length > 0 && answer.candidates[0].finishReason === 'STOP', answer);
  const typed = await client.models.generateContent({
    model,
    contents: 'Label it',
    config: { responseMimeType: 'application/json', responseSchema: { ...schema, type: 'OBJECT' } },
  });
  check('response_schema', ['bug', 'idea'].includes(JSON.parse(typed.text).label), typed.text);
  const embedded = await client.models.embedContent({
    model: 'gemini-embedding-001',
    contents: ['a', 'b'],
    config: { outputDimensionality: 6 },
  });
  check('embed', embedded.embeddings.map((e) => e.values.length).join() === '6,6', embedded);
  const counted = await client.models.countTokens({ model, contents: 'Say one two three' });
  check('count', counted.totalTokens === answer.usageMetadata.promptTokenCount, counted);
  for (const apiVersion of ['v1', 'v1alpha']) {
    const other = new GoogleGenAI({
      apiKey: 'k',
      httpOptions: { baseUrl: `${url}/gemini`, apiVersion },
    });
    const far = await ended(other, await create(other, [line('p')]));
    check(`${apiVersion} with a prefix`, (await linesOf(other, far))[0].key === 'p', far);
  }
}

async function faults(client) {
  const late = await create(client, Array.from({ length: 40 }, (_, i) => line(`k${i}`)));
  await until('start', () => client.batches.get({ name: late.name }), (j) => j.state === 'JOB_STATE_RUNNING');
  await client.batches.cancel({ name: late.name });
  const done = await ended(client, late);
  const out = await linesOf(client, done);
  check('canceled after the start', done.state === 'JOB_STATE_SUCCEEDED' &&
        out.some((item) => item.error?.code === 1), done);
  const old = await ended(client, await create(client, [line('a')]));
  check('expired after 48 h', old.state === 'JOB_STATE_EXPIRED' && !old.dest?.fileName, old);
  const broken = await ended(client, await create(client, [line('a')]));
  check('failed', broken.state === 'JOB_STATE_FAILED', broken);
  const empty = await ended(client, await create(client, [line('a')]));
  check('no output yet', !empty.dest?.fileName, empty);
  await until('output', () => client.batches.get({ name: empty.name }), (j) => j.dest?.fileName);
  const four = ['blocked', 'code-1', 'lost', 'twice'].map((key) => line(key));
  const items = (await ended(client, await create(client, four))).dest.inlinedResponses;
  check('inline answer', items.length === 4, items);
  check('blocked prompt', items[0].response.promptFeedback.blockReason === 'PROHIBITED_CONTENT', items);
  await raises('429 with a time', ApiError, '27s', () => create(client, [line('a')]));
  await raises('429 without', ApiError, 'google.rpc.Help', () => create(client, [line('a')]));
  const before = (await collect(await client.batches.list())).length;
  await raises('ambiguous', ApiError, '503', () => create(client, [line('a')], 'ghost'));
  const after = await collect(await client.batches.list());
  check('but made', after.length === before + 1 && after[0].displayName === 'ghost', after);
  const none = await upload(client, 'no-jsonl').catch(() => undefined);
  check('error with 200: no file', none?.name === undefined, none);
  await raises('no batches here', ApiError, 'NOT_FOUND', () =>
    client.batches.create({ model, src: [ask('x')] }),
  );
}

const client = new GoogleGenAI({ apiKey: 'k', httpOptions: { baseUrl: url } });
await { plain, faults }[kind](client);
finish(`node @google/genai ${version} ${kind}`);
