// What the SDK scripts share: counting checks, and waiting.
let passed = 0;
let failed = 0;

export function check(name, ok, seen) {
  if (ok) {
    passed++;
  } else {
    failed++;
    console.log(`  FAILED ${name}:`, seen);
  }
}

export async function raises(name, type, text, call) {
  try {
    await call();
    check(name, false, 'no error');
  } catch (error) {
    check(name, error instanceof type && error.message.includes(text), error);
  }
}

export async function collect(iterable) {
  const all = [];
  for await (const item of iterable) all.push(item);
  return all;
}

export async function until(what, look, done) {
  let seen;
  for (let i = 0; i < 3000; i++) {
    seen = await look();
    if (done(seen)) return seen;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${what} did not end: ${JSON.stringify(seen)}`);
}

export function finish(title) {
  console.log(`${title}: ${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}
