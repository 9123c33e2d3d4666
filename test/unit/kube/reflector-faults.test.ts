import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { createReflector } from '../../../src/kube/reflector.ts';
import { createStore } from '../../../src/kube/store.ts';
import { createTransport } from '../../../src/kube/transport.ts';
import type { Stored } from '../../../src/model/store-view.ts';
import type { Logger } from '../../../src/runtime/logger.ts';
import { eventually } from '../../support/eventually.ts';
import { createInstantClock } from './instant-clock.ts';
import { type Misbehavior, type Stage, startModelApiServer } from './model-api-server.ts';
import { kubeConfigOf } from './scripted-api-server.ts';

interface Thing extends Stored {
  readonly value: string;
}

function transform(raw: unknown): Thing {
  const { metadata, value } = raw as { readonly metadata: Stored; readonly value: unknown };
  if (typeof value !== 'string') throw new Error('no value');
  const { namespace, name, uid, resourceVersion } = metadata;
  return { namespace, name, uid, resourceVersion, value };
}

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };

const STAGES = ['first list', 'second page', 'watch open', 'mid-watch', 'relist'] as const;

interface Fault {
  /** Response to a list or watch request. */
  readonly answer: Misbehavior;
  /** Sent in an open watch in place of the next event. Default: `answer`. */
  readonly event?: Misbehavior;
  /** Number of consecutive occurrences. */
  readonly times: number;
  /** Whether the reflector reports no error. */
  readonly isSilent?: boolean;
}

const status = (code: number, reason: string) =>
  JSON.stringify({ kind: 'Status', status: 'Failure', code, reason, message: `${reason}, on purpose` });

const refuse =
  (code: number, reason: string, headers: Record<string, string> = {}): Misbehavior =>
  (response) => {
    response.writeHead(code, { 'content-type': 'application/json', ...headers }).end(status(code, reason));
  };

const ended =
  (code: number, reason: string): Misbehavior =>
  (response) => {
    response.end(`{"type":"ERROR","object":${status(code, reason)}}\n`);
  };

const send =
  (body: string, contentType = 'application/json'): Misbehavior =>
  (response) => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': contentType });
    response.end(body);
  };

/** Closes the connection before the announced Content-Length is sent. */
const sendHalf = (response: ServerResponse, body: string) => {
  if (!response.headersSent) response.writeHead(200, { 'content-length': '4096' });
  response.write(body, () => response.destroy());
};

const RETRY_AFTER_S = 77;

const FAULTS: Readonly<Record<string, Fault>> = {
  'does not answer': { answer: () => undefined, times: 1 },
  'cuts the connection': { answer: (response) => response.destroy(), times: 3 },
  'answers late': { answer: (_response, respond) => setTimeout(respond, 40), times: 1, isSilent: true },
  'answers 500': {
    answer: refuse(500, 'InternalError'),
    event: ended(500, 'InternalError'),
    times: 3,
  },
  'answers 429 with Retry-After': {
    answer: refuse(429, 'TooManyRequests', { 'retry-after': String(RETRY_AFTER_S) }),
    event: ended(429, 'TooManyRequests'),
    times: 2,
  },
  'answers 410': { answer: refuse(410, 'Expired'), event: ended(410, 'Expired'), times: 3 },
  'sends half a body': {
    answer: (response) => sendHalf(response, '{"metadata":{"resourceVersion":"7"},"items":['),
    event: (response) => sendHalf(response, '{"type":"MODIFIED","object":{"metadata":{"name":"kept"'),
    times: 3,
  },
  'sends HTML with 200': { answer: send('<html>Please log in</html>\n', 'text/html'), times: 3 },
  'ends in the middle of a line': {
    answer: send('{"type":"DELETED","object":{"metadata":{"name":"kept","uid":"uid-kept","resou'),
    times: 3,
  },
  'sends no items': {
    answer: send('{"kind":"ThingList","metadata":{"resourceVersion":"9"},"items":null}\n'),
    event: send('{"type":"MODIFIED","object":null}\n'),
    times: 3,
  },
  'sends wrong types': {
    answer: send(
      '{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"namespace":"ns","name":{"toString":1},"uid":[]}}]}\n',
    ),
    event: send(
      '{"type":"DELETED","object":{"metadata":{"namespace":"ns","name":{"toString":1},"uid":7}}}\n',
    ),
    times: 3,
  },
};

/** Runs a reflector, with one fault at one stage, until its store is equal to the collection again. */
async function runWithFault(fault: Fault, stage: Stage) {
  // A fault in an open watch occurs once: it ends the watch, or the watch continues after it.
  const times = stage === 'mid-watch' ? 1 : fault.times;
  let left = times;
  let armed = stage !== 'relist' && stage !== 'mid-watch';
  let began: (() => void) | undefined;
  const happened: string[] = [];
  const misbehave = (now: Stage): Misbehavior | undefined => {
    errors.push(reflector.health().lastError);
    happened.push(now);
    if (!armed || now !== stage || left === 0) return undefined;
    if (left === times) queueMicrotask(() => began?.());
    left -= 1;
    happened.push('fault');
    return stage === 'mid-watch' ? (fault.event ?? fault.answer) : fault.answer;
  };
  await using api = await startModelApiServer(misbehave);
  const transport = createTransport({ kubeConfig: kubeConfigOf({ server: api.url }), userAgent: 'tests' });
  const clock = createInstantClock();
  const reportError = (error: unknown) => expect.unreachable(String(error));
  const store = createStore<Thing>({
    indexes: {},
    reportError,
  });
  /** `lastError` at every request and at the start of every pause. */
  const errors: (string | undefined)[] = [];
  const wronglyRemoved: string[] = [];
  store.onChange(({ previous, current }) => {
    if (previous !== undefined && current === undefined && api.objects.has(previous.name))
      wronglyRemoved.push(previous.name);
  });
  const states: string[] = [];
  store.onState(({ state }) => states.push(state));
  const reflector = createReflector<Thing>({
    name: 'things',
    // Shorter than the 60 s of a real list.
    transport: {
      ...transport,
      get: (path, settings) => transport.get(path, { ...settings, timeoutMs: 400 }),
    },
    paths: ['/api/v1/things'],
    query: {},
    transform,
    reportError,
    store,
    clock: {
      ...clock,
      async sleep(ms, signal) {
        errors.push(reflector.health().lastError);
        happened.push(`pause ${ms}`);
        await clock.sleep(ms, signal);
      },
    },
    random: () => 0.5,
    log: silent,
    timing: { idleTimeoutMs: 400, pageSize: 2 },
  });
  api.put('kept', '1');
  api.put('changed', '1');
  api.put('gone', '1');
  const change = () => {
    api.remove('gone');
    api.put('changed', '2');
    api.put('new', '1');
  };
  // The collection changes while the fault lasts.
  began = change;

  const stop = new AbortController();
  const running = reflector.run(stop.signal);
  const equal = () => {
    const stored = [...store.list()].map(({ name, resourceVersion, value }) => [
      name,
      resourceVersion,
      value,
    ]);
    const actual = [...api.objects.values()].map(({ metadata, value }) => [
      metadata.name,
      metadata.resourceVersion,
      value,
    ]);
    expect(stored.sort()).toEqual(actual.sort());
  };
  try {
    if (!armed) {
      await eventually(() => {
        expect(store.state.state).toBe('synced');
        expect(happened.at(-1)).toBe('watch open');
        expect(reflector.health().lastError).toBeUndefined();
      });
      armed = true;
      if (stage === 'relist') api.compact();
      else {
        began = undefined;
        change();
      }
    }
    await eventually(() => {
      expect(left).toBe(0);
      equal();
      expect(reflector.health()).toMatchObject({ state: 'synced', lastError: undefined });
    });
    // The open watch delivers the next change.
    api.put('last', '1');
    await eventually(equal);
  } finally {
    stop.abort();
    await running;
    transport.close();
  }
  return { happened, errors, wronglyRemoved, states };
}

describe.each(Object.entries(FAULTS))('reflector and an API server that %s', (name, fault) => {
  it.each(STAGES)('recovers from a fault at stage: %s', async (stage) => {
    const { happened, errors, wronglyRemoved, states } = await runWithFault(fault, stage);
    expect(wronglyRemoved).toEqual([]);
    // The store stays synced after the first time.
    expect(states.slice(states.indexOf('synced'))).toEqual(['synced']);
    if (fault.isSilent !== true) {
      expect(errors.some((error) => error !== undefined)).toBe(true);
    }
    if (name.includes('Retry-After') && stage !== 'mid-watch') {
      const after = happened.flatMap((one, at) => (one === 'fault' ? [happened[at + 1]] : []));
      expect(after).toEqual(Array.from({ length: fault.times }, () => `pause ${RETRY_AFTER_S * 1000}`));
    }
  });
});
