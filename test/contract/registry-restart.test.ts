import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { RegistryScene } from '../support/registry-scene.ts';
import { DOWN, UNSEEN } from '../support/scripted-registry.ts';

const MARK = 'gwu';
const VMS = '{registryRef: {name: vms}, service: web, weight: 50}';
const PODS = '{serviceRef: {name: web, port: 80}, weight: 50}';
const MIXED = `[${VMS}, ${PODS}]`;

describe('after a restart of the operator', () => {
  let scene: RegistryScene;

  beforeEach(async () => {
    scene = await RegistryScene.create();
  });

  afterEach(async () => {
    await scene[Symbol.asyncDispose]();
  });

  it('writes nothing if all sources answer as before', async () => {
    await scene.written(MIXED, ['10.1.0.1:80=3', '10.1.0.2:80=1']);
    await scene.stop();
    scene.registry.list('web', '10.1.0.1:80=3', '10.1.0.2:80=1');
    scene.start(MIXED);
    await scene.settled();
    expect(scene.writes).toBe(0);
    expect(scene.condition('Ready')).toBe('True/Ready');
  });

  it('keeps the nodes and the share of a registry that is down, and moves the other backend', async () => {
    await scene.written(MIXED, ['10.1.0.1:80=3', '10.1.0.2:80=1']);
    expect(scene.shares()).toEqual(['10.0.0.1:8080=4', '10.1.0.1:80=3', '10.1.0.2:80=1']);
    await scene.stop();

    scene.registry.answer('web', DOWN);
    scene.start(MIXED);
    await scene.settled();
    expect(scene.writes).toBe(0);
    expect(scene.condition('ResolvedRefs')).toBe('Unknown/SourceUnavailable');

    scene.setPods('10.0.0.2', '10.0.0.3');
    await scene.expectShares('10.0.0.2:8080=2', '10.0.0.3:8080=2', '10.1.0.1:80=3', '10.1.0.2:80=1');
    expect(scene.writes).toBe(1);

    scene.registry.list('web', '10.1.0.2:80=1');
    await scene.expectShares('10.0.0.2:8080=1', '10.0.0.3:8080=1', '10.1.0.2:80=2');
    expect(scene.condition('ResolvedRefs')).toBe('True/ResolvedRefs');
    expect(scene.writes).toBe(2);
  });

  it('moves the other backend also while the registry gives no answer at all', async () => {
    await scene.written(MIXED, ['10.1.0.1:80']);
    await scene.stop();
    scene.setPods('10.0.0.2');
    scene.start(MIXED);
    await scene.settled();
    await scene.clock.advance(4000);
    await scene.settled();
    expect(scene.writes).toBe(0);
    await scene.clock.advance(1001);
    await scene.expectShares('10.0.0.2:8080=1', '10.1.0.1:80=1');
    expect(scene.condition('ResolvedRefs')).toBe('Unknown/SourceUnavailable');
  });

  it('keeps a service without instances known, under the removal guard', async () => {
    const registryOnly = `[${VMS}]`;
    await scene.written(registryOnly, ['10.1.0.1:80', '10.1.0.2:80']);
    await scene.stop();

    scene.registry.answer('web', UNSEEN);
    scene.start(registryOnly);
    await scene.settled();
    expect(scene.writes).toBe(0);
    expect(scene.condition('ResolvedRefs')).toBe('True/ResolvedRefs');
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
    await scene.clock.advance(89_000);
    await scene.settled();
    expect(scene.writes).toBe(0);
    await scene.clock.advance(2000);
    await scene.expectShares();
    expect(scene.condition('ResolvedRefs')).toBe('True/ResolvedRefs');
    expect(scene.condition('RemovalHeld')).toBeUndefined();
  });

  it('does not wait for a backend that had no instances', async () => {
    const backends = `[${VMS}, {registryRef: {name: vms}, service: empty, weight: 25}, ${PODS}]`;
    scene.registry.list('empty');
    await scene.written(backends, ['10.1.0.1:80']);
    await scene.stop();
    scene.registry.list('web', '10.1.0.1:80');
    scene.registry.answer('empty', DOWN);
    scene.setPods('10.0.0.2');
    scene.start(backends);
    await scene.expectShares('10.0.0.2:8080=1', '10.1.0.1:80=1');
    expect(scene.condition('ResolvedRefs')).toBe('Unknown/SourceUnavailable');
  });

  it('keeps a service known that had lost all of its instances before', async () => {
    const registryOnly = `[${VMS}]`;
    await scene.written(registryOnly, ['10.1.0.1:80']);
    scene.registry.list('web');
    await scene.settled();
    await scene.clock.advance(91_000);
    await scene.expectShares();
    expect(scene.condition('Ready')).toBe('True/NoReadyEndpoints');
    for (const answer of [DOWN, UNSEEN]) {
      await scene.stop();
      scene.registry.answer('web', answer);
      scene.start(registryOnly);
      await scene.settled();
      await scene.clock.advance(6000);
      await scene.settled();
      expect(scene.writes).toBe(0);
    }
    expect(scene.condition('ResolvedRefs')).toBe('True/ResolvedRefs');
    expect(scene.condition('Ready')).toBe('True/NoReadyEndpoints');
  });

  it('does not know a service that was never listed', async () => {
    scene.registry.answer('other', UNSEEN);
    const backends = `[${VMS}, {registryRef: {name: vms}, service: other}]`;
    await scene.written(backends, ['10.1.0.1:80']);
    expect(scene.condition('ResolvedRefs')).toBe('False/ServiceUnknownToRegistry');
    for (const answer of [DOWN, UNSEEN]) {
      await scene.stop();
      scene.registry.list('web', '10.1.0.1:80');
      scene.registry.answer('other', answer);
      scene.start(backends);
      await scene.settled();
      await scene.clock.advance(6000);
      await scene.settled();
      expect(scene.writes).toBe(0);
    }
    expect(scene.condition('ResolvedRefs')).toBe('False/ServiceUnknownToRegistry');
  });

  it('waits for the complete list of EndpointSlices, also longer than for a registry', async () => {
    await scene.written(MIXED, ['10.1.0.1:80']);
    await scene.stop();
    scene.start(MIXED, '', '', { slices: 'syncing' });
    for (let second = 0; second < 10; second += 2) {
      await sleep(20);
      await scene.clock.advance(2000);
    }
    expect(scene.condition('ResolvedRefs')).toBe('True/ResolvedRefs');
    scene.setPods('10.0.0.2');
    scene.listSlices();
    await scene.expectShares('10.0.0.2:8080=1', '10.1.0.1:80=1');
  });

  it('waits for a backend that is new in the spec', async () => {
    await scene.written(MIXED, ['10.1.0.1:80']);
    await scene.stop();
    scene.registry.list('web', '10.1.0.1:80');
    scene.registry.answer('other', DOWN);
    scene.setPods('10.0.0.2');
    scene.start(`[${VMS}, ${PODS}, {registryRef: {name: vms}, service: other}]`);
    await scene.settled();
    expect(scene.writes).toBe(0);
    expect(scene.condition('ResolvedRefs')).toBe('Unknown/SourceUnavailable');
    scene.registry.list('other', '10.2.0.1:80');
    await eventually(() => expect(scene.shares()).toHaveLength(3));
  });

  it('recognizes backends in another order and with other weights', async () => {
    await scene.written(MIXED, ['10.1.0.1:80']);
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.start(
      '[{serviceRef: {name: web, port: 80}, weight: 1}, {registryRef: {name: vms}, service: web, weight: 3}]',
    );
    await scene.expectShares('10.0.0.1:8080=1', '10.1.0.1:80=3');
  });

  it('keeps the part of each backend of a node that two backends list', async () => {
    scene.setPods('10.1.0.1');
    const backends = `[{registryRef: {name: vms}, service: web, weight: 75}, ${PODS.replace('50', '25')}]`;
    await scene.written(backends, ['10.1.0.1:8080', '10.1.0.2:8080']);
    expect(scene.shares()).toEqual(['10.1.0.1:8080=5', '10.1.0.2:8080=3']);
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.setPods('10.0.0.9');
    scene.start(backends);
    await scene.expectShares('10.0.0.9:8080=2', '10.1.0.1:8080=3', '10.1.0.2:8080=3');
  });

  it('writes marks again that another client removed, once the registry answers', async () => {
    await scene.written(MIXED, ['10.1.0.1:80']);
    const marked = scene.nodes();
    expect(marked?.every(({ metadata }) => /^[0-9a-f]{8}$/.test(metadata?.[MARK] ?? ''))).toBe(true);
    await scene.stop();
    const upstream = scene.gateway.get('upstreams', 'shop.web') ?? {};
    const nodes = marked?.map(({ host, port, weight }) => ({ host, port, weight }));
    scene.gateway.put('upstreams', 'shop.web', { ...upstream, nodes });
    scene.registry.answer('web', DOWN);
    scene.setPods('10.0.0.2');
    scene.start(MIXED);
    await scene.settled();
    expect(scene.writes).toBe(0);
    scene.registry.list('web', '10.1.0.1:80');
    await scene.expectShares('10.0.0.2:8080=1', '10.1.0.1:80=1');
    expect(scene.nodes()?.map(({ metadata }) => metadata?.[MARK])).toEqual(
      marked?.map(({ metadata }) => metadata?.[MARK]),
    );
  });

  it('drops recognized nodes that the connection no longer allows', async () => {
    await scene.written(MIXED, ['10.1.0.1:80', '10.2.0.1:80']);
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.start(MIXED, '', 'addresses: {deny: [10.2.0.0/16]}');
    await scene.expectShares('10.0.0.1:8080=1', '10.1.0.1:80=1');
  });

  it.each([
    ['all nodes of the upstream', `[${VMS}]`, []],
    ['all nodes of one backend', MIXED, ['10.0.0.1:8080=1']],
  ])('drops recognized nodes that the registry no longer allows: %s', async (_, backends, rest) => {
    await scene.written(backends, ['10.1.0.1:80', '10.1.0.2:80']);
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.start(backends);
    await scene.settled();
    expect(scene.writes).toBe(0);
    scene.registry.deny('10.1.0.0/16');
    await scene.expectShares(...rest);
    expect(scene.condition('RemovalHeld')).toBeUndefined();
    expect(scene.condition('ResolvedRefs')).toBe('Unknown/SourceUnavailable');
  });

  it('recognizes nodes of an upstream whose other fields another client manages', async () => {
    scene.gateway.put('upstreams', 'shop.web', { type: 'roundrobin', nodes: [] });
    await scene.written(MIXED, ['10.1.0.1:80'], '  manage: Nodes');
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.setPods('10.0.0.2');
    scene.start(MIXED, '  manage: Nodes');
    await scene.expectShares('10.0.0.2:8080=1', '10.1.0.1:80=1');
  });

  it('starts at once with an unknown backend of weight 0, which has no nodes', async () => {
    const backends = `[${VMS.replace('50', '0')}, ${PODS}]`;
    await scene.written(backends, ['10.1.0.1:80']);
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.setPods('10.0.0.2');
    scene.start(backends);
    await scene.expectShares('10.0.0.2:8080=1');
  });
});

describe('after a restart, with a gateway whose nodes keep no marks', () => {
  it('waits for a registry that is down, and reports it', async () => {
    await using scene = await RegistryScene.create();
    scene.keepsBackendMarks = false;
    await scene.written(MIXED, ['10.1.0.1:80']);
    for (const node of scene.nodes() ?? []) expect(node).not.toHaveProperty('metadata');
    await scene.stop();
    scene.registry.answer('web', DOWN);
    scene.setPods('10.0.0.2');
    scene.start(MIXED);
    await scene.settled();
    expect(scene.writes).toBe(0);
    expect(scene.condition('ResolvedRefs')).toBe('Unknown/SourceUnavailable');
    expect(scene.condition('Programmed')).toBe('Unknown/Pending');
    expect(scene.message('Programmed')).toContain('ServiceRegistry vms does not answer');
    scene.registry.list('web', '10.1.0.1:80');
    await scene.expectShares('10.0.0.2:8080=1', '10.1.0.1:80=1');
  });

  it('keeps a service without instances known, under the removal guard', async () => {
    await using scene = await RegistryScene.create();
    scene.keepsBackendMarks = false;
    await scene.written(MIXED, ['10.1.0.1:80']);
    await scene.stop();
    scene.registry.answer('web', UNSEEN);
    scene.start(MIXED);
    await scene.settled();
    expect(scene.writes).toBe(0);
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
  });
});

describe('an upstream without a registry', () => {
  it('has no marks', async () => {
    await using scene = await RegistryScene.create();
    scene.start(`[${PODS}, {addresses: [{host: 10.9.0.1, port: 80}]}]`);
    await eventually(() => expect(scene.nodes()).toHaveLength(2));
    for (const node of scene.nodes() ?? []) expect(node).not.toHaveProperty('metadata');
  });
});
