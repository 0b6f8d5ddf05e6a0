// The official Mistral TypeScript SDK against the emulator: mistral_sdk.mjs URL plain|faults.
//
// Behaviour: files, jobs and the realtime calls of the SDK work unmodified. Oracle: the SDK's own
// classes, and the facts of the API reference.
import { Mistral } from '@mistralai/mistralai';
import { readFileSync } from 'node:fs';
import { check, finish, raises, until } from './checks.mjs';

const [url, kind] = process.argv.slice(2);
const manifest = new URL('node_modules/@mistralai/mistralai/package.json', import.meta.url);
const version = JSON.parse(readFileSync(manifest)).version;
const model = 'mistral-small-latest';
const endpoint = '/v1/chat/completions';
const over = ['SUCCESS', 'FAILED', 'TIMEOUT_EXCEEDED', 'CANCELLED'];

const line = (custom_id, more = {}) => ({
  custom_id,
  body: { messages: [{ role: 'user', content: `Classify ${custom_id}: printer on fire` }], ...more },
});
const jsonl = (lines) => lines.map((item) => JSON.stringify(item) + '\n').join('');

const upload = (client, text) =>
  client.files.upload({ file: { fileName: 'batch.jsonl', content: new Blob([text]) }, purpose: 'batch' });

async function create(client, lines, more = {}) {
  const file = await upload(client, jsonl(lines));
  return client.batch.jobs.create({ inputFiles: [file.id], endpoint, model, ...more });
}

const ended = (client, job) =>
  until(job.id, () => client.batch.jobs.get({ jobId: job.id }), (j) => over.includes(j.status));

async function linesOf(client, fileId) {
  const text = await new Response(await client.files.download({ fileId })).text();
  return text.trimEnd().split('\n').map((item) => JSON.parse(item));
}

async function plain(client) {
  const one = await upload(client, jsonl([line('a'), line('b')]));
  check('file', one.numLines === 2 && one.sampleType === 'batch_request', one);
  const listed = await client.files.list({ pageSize: 1 });
  check('list', listed.data[0].id === one.id && listed.total === 1, listed);
  check('retrieve', (await client.files.retrieve({ fileId: one.id })).filename === 'batch.jsonl');
  check('delete', (await client.files.delete({ fileId: one.id })).deleted);
  await raises('deleted', Error, 'No such File', () => client.files.retrieve({ fileId: one.id }));

  const job = await create(client, [line('a'), line('b'), line('bad', { stream: true })], {
    metadata: { tag: 't-1' },
  });
  check('create', job.status === 'QUEUED' && job.totalRequests === 3, job);
  check('metadata', job.metadata.tag === 't-1', job.metadata);
  const done = await ended(client, job);
  check('success', done.status === 'SUCCESS' && done.succeededRequests === 2, done);
  const out = await linesOf(client, done.outputFile);
  const bad = await linesOf(client, done.errorFile);
  check('lines', out.map((item) => item.custom_id).sort().join() === 'a,b' &&
        bad[0].custom_id === 'bad', [out, bad]);
  check('body', out[0].response.body.choices[0].message.content.length > 0, out[0]);
  const jobs = await client.batch.jobs.list({ pageSize: 5 });
  check('jobs', jobs.total === 1 && jobs.data[0].id === job.id, jobs);
  const running = await create(client, [line('x'), line('y')]);
  const asked = await client.batch.jobs.cancel({ jobId: running.id });
  check('cancel', asked.status === 'CANCELLATION_REQUESTED', asked);
  check('cancelled', (await ended(client, running)).status === 'CANCELLED');
  const answer = await client.chat.complete({ model, messages: [{ role: 'user', content: 'hi' }] });
  check('chat', answer.choices[0].finishReason === 'stop' && answer.usage.totalTokens > 0, answer);
  const vectors = await client.embeddings.create({ model: 'mistral-embed', inputs: ['a', 'b'] });
  check('embeddings', vectors.data.map((v) => v.embedding.length).join() === '1024,1024', vectors);
  await raises('unknown model', Error, 'does not exist', () =>
    client.chat.complete({ model: 'x-does-not-exist', messages: [{ role: 'user', content: 'x' }] }),
  );
  const prefixed = new Mistral({ apiKey: 'k', serverURL: `${url}/mistral` });
  check('prefix', (await ended(prefixed, await create(prefixed, [line('p')]))).status === 'SUCCESS');
}

async function faults(client) {
  const old = await ended(client, await create(client, [line('a'), line('b')]));
  check('timeout', old.status === 'TIMEOUT_EXCEEDED' && !old.outputFile && old.errorFile, old);
  const lost = await ended(client, await create(client, [line('zero'), line('lost'), line('twice')]));
  const ids = (await linesOf(client, lost.outputFile)).map((item) => item.custom_id);
  check('missing and twice', ids.join() === 'twice,twice', ids);
  check('counts that lie', lost.failedRequests === 0 && lost.errorFile, lost);
  const empty = await ended(client, await create(client, [line('c')]));
  check('empty string', empty.errorFile === '', empty);
  await raises('queue', Error, 'enqueued', () => create(client, [line('d')]));
  await raises('accepted all the same', Error, '503', () => create(client, [line('e')]));
  check('it is there', (await client.batch.jobs.list({})).total === 4);
  await raises('no batches here', Error, '404', () => create(client, [line('z')]));
}

const client = new Mistral({ apiKey: 'k', serverURL: url, retryConfig: { strategy: 'none' } });
await { plain, faults }[kind](client);
finish(`node @mistralai/mistralai ${version} ${kind}`);
