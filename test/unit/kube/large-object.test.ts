import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { KubeApiError } from '../../../src/kube/kube-error.ts';
import { MAX_CUSTOM_VALUES, parseEvent, parseObject, whyNotRead } from '../../../src/kube/large-object.ts';
import { createReflector } from '../../../src/kube/reflector.ts';
import { createStore } from '../../../src/kube/store.ts';
import { createTransport } from '../../../src/kube/transport.ts';
import type { GatewayUpstream } from '../../../src/model/objects.ts';
import type { Logger } from '../../../src/runtime/logger.ts';
import { transformGatewayUpstream } from '../../support/catalog.ts';
import { eventually } from '../../support/eventually.ts';
import { createInstantClock } from './instant-clock.ts';
import { type Answer, kubeConfigOf, startScriptedApiServer } from './scripted-api-server.ts';

const metadata = (name: string) => ({
  name,
  namespace: 'evil',
  uid: `uid-${name}`,
  resourceVersion: '7',
  generation: 3,
  deletionTimestamp: '2026-01-01T00:00:00Z',
  finalizers: ['gatewayupstream.dev/upstream'],
  annotations: { text: 'quotes " \\ and brackets ]}' },
});
const status = { upstreamId: 'evil.wide', conditions: [] };

/** A GatewayUpstream with very many values at low depth. */
const wide = (name: string) => ({
  apiVersion: 'gatewayupstream.dev/v1alpha1',
  kind: 'GatewayUpstream',
  metadata: { ...metadata(name), managedFields: Array.from({ length: 5000 }, () => ({ fieldsV1: {} })) },
  spec: {
    connectionRef: { name: 'edge' },
    backends: [{ serviceRef: { name: 'web', port: 80 } }],
    apisix: { overrides: { x: Array.from({ length: 8000 }, () => [[[[[[[]]]]]]]) } },
  },
  status,
});

const usual = (name: string) => ({
  metadata: metadata(name),
  spec: { backends: [{ serviceRef: { name: 'web', port: 80 } }] },
});

const problem = (object: GatewayUpstream | undefined) => object?.spec.ok === false && object.spec.message;

describe('parsing of large objects', () => {
  it('keeps identity, connection and status of an object with too many values, and marks its spec invalid', () => {
    const object = transformGatewayUpstream(parseObject(JSON.stringify(wide('wide')), MAX_CUSTOM_VALUES));
    const { annotations: _, ...kept } = metadata('wide');
    expect(object).toMatchObject({ ...kept, connection: 'edge', status });
    expect(problem(object)).toBe('the object has more than 16384 JSON values: make the object smaller');
  });

  it('never parses an object with too many values in full', () => {
    const text = JSON.stringify(wide('wide'));
    using parse = vi.spyOn(JSON, 'parse');
    parseObject(text, MAX_CUSTOM_VALUES);
    const longest = Math.max(...parse.mock.calls.map(([part]) => part.length));
    expect(longest).toBeLessThan(200);
  });

  it('marks an object with too many characters as invalid', () => {
    const text = JSON.stringify({ ...usual('long'), status: { a: 'a'.repeat(600_000) } });
    expect(problem(transformGatewayUpstream(parseObject(text, MAX_CUSTOM_VALUES)))).toMatch(
      /524288 characters/,
    );
  });

  it('throws KubeApiError for invalid JSON', () => {
    const text = JSON.stringify(wide('wide')).replace('"evil"', 'evil');
    expect(() => parseObject(text, MAX_CUSTOM_VALUES)).toThrow(KubeApiError);
  });

  it('returns the same as JSON.parse below the limit, and the same identity above it', () => {
    const awkward = fc.string({ unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', 'a', '\n') });
    const object = fc.record({
      metadata: fc.record({ name: awkward, annotations: fc.dictionary(awkward, awkward) }),
      spec: fc.record({ connectionRef: fc.record({ name: awkward }), more: fc.array(awkward) }),
      status: fc.record({ text: awkward }),
    });
    fc.assert(
      fc.property(object, ({ metadata: about, spec, status: last }) => {
        const filler = Array.from({ length: 9000 }, () => 1);
        const text = JSON.stringify({ metadata: about, filler, spec: { ...spec, filler }, status: last });
        const { connectionRef } = spec;
        expect(parseObject(text, 20_000)).toEqual(JSON.parse(text));
        const cut = parseObject(text, 100) as Record<string, unknown>;
        expect(cut).toMatchObject({ metadata: about, spec: { connectionRef }, status: last });
        expect(Object.keys(cut['spec'] as object)).toEqual(['connectionRef']);
      }),
      { numRuns: 200 },
    );
  });

  it('applies to the object of a watch event', () => {
    const text = JSON.stringify({ type: 'MODIFIED', object: wide('wide') });
    const { type, object } = parseEvent(text, MAX_CUSTOM_VALUES);
    expect(type).toBe('MODIFIED');
    expect(whyNotRead(object as Record<string, unknown>)).toMatch(/16384 JSON values/);
  });
});

it('reads lists and watches full of large objects without blocking timers', async () => {
  const hostile = Array.from({ length: 30 }, (_, n) => JSON.stringify(wide(`w${n}`)));
  const items = [...hostile, JSON.stringify(usual('good'))].join(',');
  const list: Answer = (response) =>
    void response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(`{"metadata":{"resourceVersion":"9"},"items":[${items}]}`);
  const watch: Answer = (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write(`{"type":"ADDED","object":${JSON.stringify(wide('watched'))}}\n`);
    response.write(`{"type":"ADDED","object":${JSON.stringify(usual('last'))}}\n`);
  };
  const api = await startScriptedApiServer([list, watch]);
  const transport = createTransport({ kubeConfig: kubeConfigOf({ server: api.url }), userAgent: 'tests' });
  const log: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
  const store = createStore<GatewayUpstream>({ indexes: {}, reportError: () => undefined });
  let turns = 0;
  const reflector = createReflector<GatewayUpstream>({
    name: 'things',
    transport,
    paths: ['/apis/things'],
    query: {},
    transform(raw) {
      // Slow enough that the list does not fit into one event loop turn.
      const until = performance.now() + 2;
      while (performance.now() < until);
      turnsAt.push(turns);
      return transformGatewayUpstream(raw);
    },
    maxValues: MAX_CUSTOM_VALUES,
    reportError: () => undefined,
    store,
    clock: createInstantClock(),
    random: () => 0.5,
    log,
  });
  const turnsAt: number[] = [];
  const ticking = setInterval(() => {
    turns += 1;
  }, 0);
  const stop = new AbortController();
  const run = reflector.run(stop.signal);
  onTestFinished(async () => {
    clearInterval(ticking);
    stop.abort();
    await run;
    transport.close();
    await api[Symbol.asyncDispose]();
  });
  await eventually(() => expect(store.get('evil', 'last')).toBeDefined());
  expect(store.get('evil', 'good')?.spec.ok).toBe(true);
  expect(problem(store.get('evil', 'w0'))).toMatch(/16384 JSON values/);
  expect(problem(store.get('evil', 'watched'))).toMatch(/16384 JSON values/);
  const inList = turnsAt.slice(0, 31);
  expect(new Set(inList).size).toBeGreaterThan(2);
});
