import { describe, expect, it } from 'vitest';
import { METRICS } from '../../../src/api/metrics.ts';
import type { Condition } from '../../../src/api/schema.ts';
import {
  CONNECTION_QUEUE,
  createInstruments,
  depthSamples,
  gatewayQueue,
  objectSamples,
  registryAgeSamples,
  registryServiceSamples,
  UNKNOWN_GATEWAY_QUEUE,
} from '../../../src/engine/instruments.ts';
import { createStore } from '../../../src/kube/store.ts';
import type { GatewayConnection, GatewayUpstream, GatewayUpstreamSet } from '../../../src/model/objects.ts';
import type { RegistryFacts } from '../../../src/model/registry-facts.ts';
import { createMetrics } from '../../../src/runtime/metrics.ts';
import { settle } from '../../support/fake-clock.ts';

const condition = (type: string, status: Condition['status'], reason: string): Condition => ({
  type,
  status,
  reason,
  message: '',
  lastTransitionTime: '2026-01-01T00:00:00Z',
});

const object = (name: string, conditions: readonly Condition[]) => ({
  namespace: 'ns',
  name,
  uid: name,
  resourceVersion: '1',
  connection: 'main',
  status: { conditions },
});

describe('createInstruments', () => {
  it('labels queues by kind, and gateway queues by connection', () => {
    const depths = new Map([
      [CONNECTION_QUEUE, 0],
      [gatewayQueue('main'), 3],
    ]);
    expect(depthSamples(depths)).toEqual([
      { labels: { queue: 'connections', connection: '' }, value: 0 },
      { labels: { queue: 'gateway', connection: 'main' }, value: 3 },
    ]);
  });

  it('initializes the counters of a connection with 0', async () => {
    const metrics = createMetrics();
    const instruments = createInstruments(metrics);
    instruments.opened('main');
    const series = 'connection="main",operation="put",outcome="accepted"';
    expect(await metrics.text()).toContain(`${METRICS.writes.name}{${series}} 0`);
    instruments.wrote('main', 'put', 'accepted');
    instruments.opened('main');
    expect(await metrics.text()).toContain(`${METRICS.writes.name}{${series}} 1`);
  });

  it('removes the series of deleted connections and dropped queues', async () => {
    const metrics = createMetrics();
    const instruments = createInstruments(metrics);
    const series = async () =>
      (await metrics.text())
        .split('\n')
        .filter((line) => line.startsWith('gateway_upstream_operator_') && line.includes('{'));
    const before = await series();
    for (const name of ['gone', 'idle']) {
      instruments.opened(name);
      instruments.waited(gatewayQueue(name), 1);
      instruments.propagated(name, 1);
      instruments.wrote(name, 'put', 'Rejected');
      instruments.suppressed(name);
      instruments.failed(name, 'Rejected');
    }
    instruments.waited('members of web', 1);
    instruments.waited(UNKNOWN_GATEWAY_QUEUE, 1);
    instruments.connectionDeleted('gone');
    instruments.queueDropped(gatewayQueue('idle'));
    instruments.queueDropped('members of web');
    await settle();
    const unknown = (await series()).filter((line) => !before.includes(line));
    expect(unknown.length).toBeGreaterThan(0);
    for (const line of unknown) expect(line).toContain('queue="gateway",connection=""');
  });

  it('records durations in seconds', async () => {
    const metrics = createMetrics();
    createInstruments(metrics).propagated('main', 1500);
    expect(await metrics.text()).toContain(`${METRICS.propagation.name}_sum{connection="main"} 1.5`);
  });
});

describe('objectSamples', () => {
  const reportError = (error: unknown) => {
    throw error;
  };

  it('counts objects of missing connections in one series', () => {
    const upstreams = createStore<GatewayUpstream>({ indexes: {}, reportError });
    const connections = createStore<GatewayConnection>({ indexes: {}, reportError });
    const sets = createStore<GatewayUpstreamSet>({ indexes: {}, reportError });
    for (let n = 0; n < 3000; n += 1) {
      const lost = object(`a-${n}`, [condition('Ready', 'False', 'ConnectionNotFound')]);
      upstreams.upsert({ ...lost, connection: `unknown-${n}` } as unknown as GatewayUpstream);
    }
    const labels = { kind: 'GatewayUpstream', type: 'Ready', status: 'False', reason: 'ConnectionNotFound' };
    expect(objectSamples(upstreams, connections, sets)).toEqual([
      { labels: { ...labels, connection: '' }, value: 3000 },
    ]);
  });

  it('counts objects by kind, connection and condition', () => {
    const upstreams = createStore<GatewayUpstream>({ indexes: {}, reportError });
    const connections = createStore<GatewayConnection>({ indexes: {}, reportError });
    for (const name of ['a', 'b']) {
      upstreams.upsert(object(name, [condition('Ready', 'True', 'Ready')]) as unknown as GatewayUpstream);
    }
    upstreams.upsert(object('c', [condition('Ready', 'False', 'Rejected')]) as unknown as GatewayUpstream);
    connections.upsert({
      ...object('main', [condition('Reachable', 'True', 'Reachable')]),
      namespace: '',
    } as unknown as GatewayConnection);
    const sets = createStore<GatewayUpstreamSet>({ indexes: {}, reportError });
    sets.upsert({
      ...object('all', [condition('PruningHeld', 'True', 'PruningHeld')]),
      namespace: '',
      spec: { ok: true, value: { template: { spec: { connectionRef: { name: 'main' } } } } },
    } as unknown as GatewayUpstreamSet);
    const upstream = { kind: 'GatewayUpstream', connection: 'main', type: 'Ready' };
    expect(objectSamples(upstreams, connections, sets)).toEqual([
      { labels: { ...upstream, status: 'True', reason: 'Ready' }, value: 2 },
      { labels: { ...upstream, status: 'False', reason: 'Rejected' }, value: 1 },
      {
        labels: {
          kind: 'GatewayConnection',
          connection: 'main',
          type: 'Reachable',
          status: 'True',
          reason: 'Reachable',
        },
        value: 1,
      },
      {
        labels: {
          kind: 'GatewayUpstreamSet',
          connection: 'main',
          type: 'PruningHeld',
          status: 'True',
          reason: 'PruningHeld',
        },
        value: 1,
      },
    ]);
  });
});

describe('samples of registries', () => {
  const facts = (followed: number, lastCompleteAnswerAt: number | undefined): RegistryFacts => ({
    standing: { kind: 'answering' },
    version: undefined,
    isVersionRead: true,
    api: undefined,
    services: { current: followed, failing: 0, waiting: 0, refused: 0 },
    lastCompleteAnswerAt,
  });

  it('have the number of services by state', () => {
    expect(registryServiceSamples([['main', facts(2, undefined)]])).toEqual([
      { labels: { registry: 'main', state: 'current' }, value: 2 },
      ...['failing', 'waiting', 'refused'].map((state) => ({
        labels: { registry: 'main', state },
        value: 0,
      })),
    ]);
  });

  it('have the age of the last answer only while a service is followed', () => {
    expect(registryAgeSamples([['main', facts(1, 1000)]], 3500)).toEqual([
      { labels: { registry: 'main' }, value: 2.5 },
    ]);
    expect(registryAgeSamples([['main', facts(0, 1000)]], 3500)).toEqual([]);
    expect(registryAgeSamples([['main', facts(1, undefined)]], 3500)).toEqual([]);
    // The wall clock was set back.
    expect(registryAgeSamples([['main', facts(1, 1000)]], 500)[0]?.value).toBe(0);
  });
});
