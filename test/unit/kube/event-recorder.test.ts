import { describe, expect, it } from 'vitest';
import { createEventRecorder, type KubeEvent } from '../../../src/kube/event-recorder.ts';
import { KubeApiError } from '../../../src/kube/kube-error.ts';
import type { KubeTransport, SendRequest } from '../../../src/kube/transport.ts';
import { type Clock, systemClock } from '../../../src/runtime/clock.ts';
import type { Logger } from '../../../src/runtime/logger.ts';

interface Written {
  readonly path: string;
  readonly body: {
    readonly metadata: { readonly name: string; readonly namespace: string };
    readonly note: string;
    readonly [field: string]: unknown;
  };
}

const MINUTE = 60_000;
const settle = () => new Promise((resolve) => setImmediate(resolve));
const object = { namespace: 'apps', name: 'web', uid: 'u1', resourceVersion: '1' };
const event = (message = 'all is well'): KubeEvent => ({ type: 'Normal', reason: 'Programmed', message });

function recording(send: () => Promise<unknown> = () => Promise.resolve({})) {
  const written: Written[] = [];
  const lines: string[] = [];
  const write = (_fields: object, message: string) => void lines.push(message);
  const log: Logger = { debug: write, info: write, warn: write, error: write, child: () => log };
  const time = { monotonic: 0, wall: Date.parse('2026-01-01T00:00:00Z') };
  const clock: Clock = { ...systemClock, now: () => time.wall, monotonic: () => time.monotonic };
  const stop = new AbortController();
  const transport: KubeTransport = {
    get: () => Promise.reject(new Error('a recorder reads nothing')),
    watch: () => expect.unreachable('a recorder watches nothing'),
    close: () => undefined,
    send({ path, body }: SendRequest) {
      written.push({ path, body: body as Written['body'] });
      return send();
    },
  };
  const recorder = createEventRecorder({
    transport,
    clock,
    random: () => 0.5,
    log,
    instance: 'pod-1',
    signal: stop.signal,
    isTerminating: (namespace) => namespace === 'ending',
  });
  return { recorder, written, lines, time, stop };
}

describe('event recorder', () => {
  it('writes an Event with type, reason, note, object, time and reporter', () => {
    const { recorder, written } = recording();
    recorder.record('GatewayUpstream', object, { type: 'Warning', reason: 'Rejected', message: 'bad key' });
    expect(written).toEqual([
      {
        path: '/apis/events.k8s.io/v1/namespaces/apps/events',
        body: {
          apiVersion: 'events.k8s.io/v1',
          kind: 'Event',
          metadata: { namespace: 'apps', name: expect.stringMatching(/^web\.[0-9a-f]+$/) },
          eventTime: '2026-01-01T00:00:00.000000Z',
          reportingController: 'gatewayupstream.dev/gateway-upstream-operator',
          reportingInstance: 'pod-1',
          action: 'Reconcile',
          type: 'Warning',
          reason: 'Rejected',
          note: 'bad key',
          regarding: {
            apiVersion: 'gatewayupstream.dev/v1alpha1',
            kind: 'GatewayUpstream',
            namespace: 'apps',
            name: 'web',
            uid: 'u1',
          },
        },
      },
    ]);
  });

  it('writes Events about cluster-scoped objects to namespace default', () => {
    const { recorder, written } = recording();
    recorder.record('GatewayConnection', { ...object, namespace: '' }, event());
    expect(written[0]?.path).toBe('/apis/events.k8s.io/v1/namespaces/default/events');
    expect(written[0]?.body.metadata.namespace).toBe('default');
    expect(written[0]?.body['regarding']).not.toHaveProperty('namespace');
  });

  it('writes no Event to a namespace that is being deleted', () => {
    const { recorder, written } = recording();
    recorder.record('GatewayUpstream', { ...object, namespace: 'ending' }, event());
    expect(written).toEqual([]);
  });

  it.each([
    ['a'.repeat(253), 'a'.repeat(200)],
    [`${'a'.repeat(199)}-${'b'.repeat(53)}`, 'a'.repeat(199)],
    [`${'a'.repeat(198)}--.b`, 'a'.repeat(198)],
  ])('gives the Event a valid name (%s)', (name, start) => {
    const { recorder, written } = recording();
    recorder.record('GatewayUpstream', { ...object, name }, event());
    const given = written[0]?.body.metadata.name ?? '';
    expect(given.length).toBeLessThanOrEqual(253);
    expect(given.slice(0, given.lastIndexOf('.'))).toBe(start);
    expect(given).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
    expect(written[0]?.body['regarding']).toMatchObject({ name });
  });

  it.each([
    ['unchanged', 'x'.repeat(1024), 'x'.repeat(1024)],
    ['cut', 'x'.repeat(1025), `${'x'.repeat(1021)}...`],
    ['cut between characters', 'ä'.repeat(1000), `${'ä'.repeat(510)}...`],
    ['cut between long characters', '😀'.repeat(1000), `${'😀'.repeat(255)}...`],
  ])('limits the note to 1,024 bytes: %s', (_what, message, note) => {
    const { recorder, written } = recording();
    recorder.record('GatewayUpstream', object, event(message));
    expect(written[0]?.body.note).toBe(note);
    expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1024);
  });
});

describe('duplicate Events', () => {
  it('are dropped for five minutes', () => {
    const { recorder, written, time } = recording();
    recorder.record('GatewayUpstream', object, event());
    time.monotonic += 5 * MINUTE - 1;
    recorder.record('GatewayUpstream', object, event());
    expect(written).toHaveLength(1);
    time.monotonic += 1;
    recorder.record('GatewayUpstream', object, event());
    expect(written).toHaveLength(2);
  });

  it('have the same object, kind, reason and message; the wall clock has no influence', () => {
    const { recorder, written, time } = recording();
    recorder.record('GatewayUpstream', object, event());
    recorder.record('GatewayUpstream', object, event('another'));
    recorder.record('GatewayUpstream', object, { ...event(), reason: 'Repaired' });
    recorder.record('GatewayUpstream', { ...object, uid: 'u2' }, event());
    recorder.record('GatewayConnection', object, event());
    expect(written).toHaveLength(5);
    time.wall += 60 * MINUTE;
    recorder.record('GatewayUpstream', object, event());
    expect(written).toHaveLength(5);
  });
});

describe('rate limit', () => {
  it('allows a burst of 100 Events per process, then 60 per minute, and refills to 100 at most', () => {
    const { recorder, written, time } = recording();
    let count = 0;
    const flood = () => {
      const before = written.length;
      for (const end = count + 500; count < end; count += 1) {
        recorder.record('GatewayUpstream', { ...object, uid: `u${count}` }, event());
      }
      return written.length - before;
    };
    expect(flood()).toBe(100);
    time.monotonic += MINUTE;
    expect(flood()).toBe(60);
    time.monotonic += 60 * MINUTE;
    expect(flood()).toBe(100);
  });

  it('allows a burst of ten different Events per object, then one every five minutes', () => {
    const { recorder, written, time } = recording();
    let count = 0;
    const flap = () => {
      const before = written.length;
      for (const end = count + 500; count < end; count += 1) {
        recorder.record('GatewayUpstream', object, event(`m${count}`));
      }
      return written.length - before;
    };
    expect(flap()).toBe(10);
    recorder.record('GatewayUpstream', { ...object, uid: 'u2' }, event());
    expect(written).toHaveLength(11);
    time.monotonic += 5 * MINUTE;
    expect(flap()).toBe(1);
    time.monotonic += 60 * MINUTE;
    expect(flap()).toBe(10);
  });

  it('does not count a dropped Event as written', () => {
    const { recorder, written, time } = recording();
    for (let n = 0; n < 100; n += 1) recorder.record('GatewayUpstream', { ...object, uid: `x${n}` }, event());
    recorder.record('GatewayUpstream', object, event('late'));
    expect(written).toHaveLength(100);
    time.monotonic += 1000;
    recorder.record('GatewayUpstream', object, event('late'));
    expect(written.at(-1)?.body.note).toBe('late');
  });
});

describe('failed write', () => {
  it('is only logged', async () => {
    const { recorder, lines } = recording(() => Promise.reject(new KubeApiError('no', { status: 403 })));
    recorder.record('GatewayUpstream', object, event());
    await settle();
    expect(lines).toHaveLength(1);
  });

  it('is not logged after the signal has aborted', async () => {
    const { recorder, lines, stop } = recording(() => Promise.reject(new Error('aborted')));
    recorder.record('GatewayUpstream', object, event());
    stop.abort();
    await settle();
    expect(lines).toEqual([]);
  });
});
