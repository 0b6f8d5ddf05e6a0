// The official TypeScript SDK against the emulator: anthropic_sdk.mjs URL plain|faults.
//
// Behaviour: every batch call of the SDK works unmodified. Oracle: the SDK's own classes, and the
// texts of the API reference.
import Anthropic from '@anthropic-ai/sdk';
import { readFileSync } from 'node:fs';

const [url, kind] = process.argv.slice(2);
const manifest = new URL('node_modules/@anthropic-ai/sdk/package.json', import.meta.url);
const version = JSON.parse(readFileSync(manifest)).version;
const model = 'claude-haiku-4-5';
let passed = 0;
let failed = 0;

function check(name, ok, seen) {
  if (ok) {
    passed++;
  } else {
    failed++;
    console.log(`  FAILED ${name}:`, seen);
  }
}

async function raises(name, type, text, call) {
  try {
    await call();
    check(name, false, 'no error');
  } catch (error) {
    check(name, error instanceof type && error.message.includes(text), error);
  }
}

function request(custom_id, changes = {}) {
  return {
    custom_id,
    params: {
      model,
      max_tokens: 200,
      messages: [{ role: 'user', content: 'Classify <issue id="7">the printer is on fire</issue>' }],
      ...changes,
    },
  };
}

async function collect(iterable) {
  const all = [];
  for await (const item of iterable) all.push(item);
  return all;
}

async function ended(client, id) {
  for (let i = 0; i < 1500; i++) {
    const batch = await client.messages.batches.retrieve(id);
    if (batch.processing_status === 'ended') return batch;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('the batch did not end');
}

async function plain(client) {
  const batches = client.messages.batches;
  const made = [];
  for (let i = 0; i < 7; i++)
    made.push(await batches.create({ requests: [request(`one-${i}`), request(`two-${i}`)] }));
  const ids = made.map((batch) => batch.id);
  check('create', ids.every((id) => id.startsWith('msgbatch_')), ids);
  check('create status', made[0].processing_status === 'in_progress', made[0]);
  check('create counts', made[0].request_counts.processing === 2, made[0]);
  check('request id', made[0]._request_id?.startsWith('req_'), made[0]._request_id);

  const listed = (await collect(batches.list({ limit: 3 }))).map((batch) => batch.id);
  check('list pages, newest first', listed.join() === [...ids].reverse().join(), listed);
  let page = await batches.list({ limit: 2, after_id: ids[5] });
  check('after_id', page.data.map((b) => b.id).join() === [ids[4], ids[3]].join(), page.data);
  page = await batches.list({ limit: 2, before_id: ids[1] });
  check('before_id', page.data.map((b) => b.id).join() === [ids[3], ids[2]].join(), page.data);
  const back = (await collect(batches.list({ limit: 2, before_id: ids[0] }))).map((b) => b.id);
  check('pages backwards', [...back].sort().join() === ids.slice(1).sort().join(), back);

  const schema = {
    type: 'object',
    additionalProperties: false,
    required: ['label', 'citations'],
    properties: {
      label: { enum: ['bug', 'idea'] },
      citations: { type: 'array', items: { type: 'integer' } },
    },
  };
  const mixed = await batches.create({
    requests: [
      request('good'),
      request('bad-model', { model: 'claude-does-not-exist-9' }),
      request('stream', { stream: true }),
      request('sampling', { temperature: 1 }),
      request('json', { output_config: { format: { type: 'json_schema', schema } } }),
    ],
  });
  await raises('results before the end', Anthropic.AnthropicError, 'results_url', () =>
    batches.results(mixed.id),
  );
  const done = await ended(client, mixed.id);
  const counts = done.request_counts;
  check('counts', counts.succeeded === 2 && counts.errored === 3 && counts.processing === 0, counts);
  const lines = {};
  for await (const line of await batches.results(mixed.id)) lines[line.custom_id] = line.result;
  check('results', Object.keys(lines).length === 5, Object.keys(lines));
  check('message', lines.good.message.content[0].text.length > 0, lines.good);
  const texts = {
    'bad-model': 'model: claude-does-not-exist-9',
    stream: '"stream=True" is not supported in the Message Batches API',
    sampling: 'temperature: Extra inputs are not permitted',
  };
  for (const [name, text] of Object.entries(texts))
    check(name, lines[name].error?.error.message === text, JSON.stringify(lines[name]));
  const answer = JSON.parse(lines.json.message.content[0].text);
  check('schema', ['bug', 'idea'].includes(answer.label) && answer.citations.every((c) => c === 7),
        answer);

  const canceled = await batches.create({ requests: [request('x'), request('y')] });
  const after = await batches.cancel(canceled.id);
  check('cancel', ['canceling', 'ended'].includes(after.processing_status), after);
  const left = (await ended(client, canceled.id)).request_counts;
  check('cancel counts', left.canceled + left.succeeded === 2, left);

  const gone = await batches.delete(mixed.id);
  check('delete', gone.id === mixed.id && gone.type === 'message_batch_deleted', gone);
  await raises('get deleted', Anthropic.NotFoundError, `Message Batch ${mixed.id} not found.`, () =>
    batches.retrieve(mixed.id),
  );
  const running = await batches.create({ requests: [request('r')] });
  await raises('delete running', Anthropic.BadRequestError, 'In progress batches cannot be deleted',
               () => batches.delete(running.id));
  await raises('duplicate', Anthropic.BadRequestError, 'Duplicate custom_id found: dup', () =>
    batches.create({ requests: [request('dup'), request('dup')] }),
  );
  await raises('empty', Anthropic.BadRequestError, 'at least 1 item after validation, not 0', () =>
    batches.create({ requests: [] }),
  );

  const message = await client.messages.create(request('live').params);
  check('message', message.type === 'message' && message.usage.output_tokens > 0, message);
  const counted = await client.messages.countTokens({
    model,
    messages: request('live').params.messages,
  });
  check('count_tokens', counted.input_tokens === message.usage.input_tokens, counted);
  const names = (await collect(client.models.list({ limit: 5 }))).map((item) => item.id);
  check('models', names.includes('claude-haiku-5-5') && names.length > 5, names);
  const one = await client.models.retrieve('claude-haiku-5-5');
  check('model', one.capabilities.batch.supported && one.lifecycle === 'active', one);
  const beta = await client.beta.messages.batches.retrieve(running.id);
  check('beta path', beta.id === running.id, beta);
  const prefixed = new Anthropic({ baseURL: `${url}/anthropic`, apiKey: 'k' });
  const over = await ended(prefixed, running.id);
  check('prefix', over.results_url.includes('/anthropic/v1/'), over);
  const only = await collect(await prefixed.messages.batches.results(running.id));
  check('prefixed results', only.length === 1, only);
}

async function faults(client) {
  const batches = client.messages.batches;
  const first = await batches.create({ requests: [request('a'), request('err-line')] });
  check('529 is retried', first.id, first);
  await batches.create({ requests: [request('b')] });
  const seen = (await batches.list()).data.length;
  check('dropped after commit: bought twice', seen === 3, seen);
  await ended(client, first.id);
  const lines = {};
  for await (const line of await batches.results(first.id)) lines[line.custom_id] = line.result;
  check('errored line', lines['err-line'].error?.error.type === 'overloaded_error', lines);
  const message = await client.messages.create(request('live').params);
  check('429 is retried', message.type === 'message', message);
  await raises('spend cap', Anthropic.RateLimitError, 'spend limit', () =>
    client.messages.create(request('l').params, { maxRetries: 0 }),
  );
  const refused = await client.messages.create(
    request('l', { messages: [{ role: 'user', content: 'please-refuse' }] }).params,
  );
  check('refusal', refused.stop_reason === 'refusal', refused);
  const odd = await batches.create({ requests: [request('odd')] });
  check('unknown fields', odd.priority?.lane === 'express' && odd.created_at.endsWith('Z'), odd);
  await ended(client, odd.id);
}

const client = new Anthropic({ baseURL: url, apiKey: 'k' });
await { plain, faults }[kind](client);
console.log(`node @anthropic-ai/sdk ${version} ${kind}: ${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
