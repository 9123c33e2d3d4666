import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RegistryScene } from '../support/registry-scene.ts';
import { DOWN, UNSEEN } from '../support/scripted-registry.ts';

const VMS = '{registryRef: {name: vms}, service: web, weight: 90}';
const PODS = '{serviceRef: {name: web, port: 80}, weight: 10}';
const MIXED = `[${VMS}, ${PODS}]`;
const CANARY = Array.from({ length: 8 }, (_, index) => `10.0.0.${index + 1}`);

describe('the removal guard for instances of a registry', () => {
  let scene: RegistryScene;

  beforeEach(async () => {
    scene = await RegistryScene.create();
  });

  afterEach(async () => {
    await scene[Symbol.asyncDispose]();
  });

  /** The nodes of the registry. */
  const instances = () => scene.shares()?.filter((node) => node.startsWith('10.1.'));

  it('keeps the two machines with most of the traffic beside many Pods for vanishedHold', async () => {
    scene.setPods(...CANARY);
    await scene.written(MIXED, ['10.1.0.1:80', '10.1.0.2:80']);
    const before = scene.shares();
    scene.registry.list('web');
    await scene.settled();
    expect(scene.shares()).toEqual(before);
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
    expect(scene.message('RemovalHeld')).toContain('vanished for up to 90s');

    await scene.clock.advance(60_000);
    scene.setPods('10.0.0.9', ...CANARY);
    await scene.settled();
    expect(instances()).toHaveLength(2);
    await scene.clock.advance(29_000);
    await scene.settled();
    expect(instances()).toHaveLength(2);
    await scene.clock.advance(2000);
    await scene.settled();
    expect(instances()).toEqual([]);
    expect(scene.condition('RemovalHeld')).toBeUndefined();
  });

  it('removes one of several instances at once', async () => {
    await scene.written(MIXED, ['10.1.0.1:80', '10.1.0.2:80', '10.1.0.3:80']);
    scene.registry.list('web', '10.1.0.1:80', '10.1.0.2:80');
    await scene.settled();
    expect(instances()).toHaveLength(2);
    expect(scene.condition('RemovalHeld')).toBeUndefined();
  });

  it('counts instances that are lost one after the other', async () => {
    await scene.written(MIXED, ['10.1.0.1:80', '10.1.0.2:80', '10.1.0.3:80']);
    scene.registry.list('web', '10.1.0.1:80', '10.1.0.2:80');
    await scene.settled();
    scene.registry.list('web', '10.1.0.1:80');
    await scene.settled();
    expect(instances()).toHaveLength(2);
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
  });

  it('distinguishes instances on one address by their ports', async () => {
    await scene.written(MIXED, ['10.1.0.1:80', '10.1.0.1:81', '10.1.0.1:82']);
    scene.registry.list('web', '10.1.0.1:82');
    await scene.settled();
    expect(instances()).toHaveLength(3);
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
  });

  it('is not bypassed by another service of the registry on the same machines', async () => {
    scene.registry.list('other', '10.1.0.1:9000', '10.1.0.2:9000');
    await scene.written(`[${VMS}, {registryRef: {name: vms}, service: other, weight: 10}]`, [
      '10.1.0.1:80',
      '10.1.0.2:80',
    ]);
    scene.registry.list('web');
    await scene.settled();
    expect(instances()).toHaveLength(4);
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
  });

  it('starts the time of each node when the node is lost', async () => {
    await scene.written(MIXED, ['10.1.0.1:80', '10.1.0.2:80', '10.1.0.3:80']);
    scene.registry.list('web', '10.1.0.3:80');
    await scene.settled();
    await scene.clock.advance(80_000);
    scene.registry.list('web');
    await scene.settled();
    await scene.clock.advance(11_000);
    await scene.settled();
    expect(instances()).toEqual(['10.1.0.3:80=9']);
    await scene.clock.advance(78_000);
    await scene.settled();
    expect(instances()).toHaveLength(1);
    await scene.clock.advance(2000);
    await scene.settled();
    expect(instances()).toEqual([]);
  });

  it('keeps each instance for the whole time while a registry that lost its data lists one after the other again', async () => {
    const all = ['10.1.0.1:80', '10.1.0.2:80', '10.1.0.3:80'];
    await scene.written(MIXED, all);
    scene.registry.list('web');
    await scene.settled();
    for (const back of [all.slice(0, 1), all.slice(0, 2)]) {
      await scene.clock.advance(20_000);
      scene.registry.list('web', ...back);
      await scene.settled();
      expect(instances()).toHaveLength(3);
    }
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
    await scene.clock.advance(51_000);
    await scene.settled();
    expect(instances()).toHaveLength(2);
    expect(scene.condition('RemovalHeld')).toBeUndefined();
  });

  it('keeps the proportions of weights between kept and remaining instances', async () => {
    await scene.written(MIXED, ['10.1.0.1:80=1', '10.1.0.2:80=4', '10.1.0.3:80=4']);
    const before = scene.shares();
    scene.registry.list('web', '10.1.0.1:80=1');
    await scene.settled();
    expect(scene.shares()).toEqual(before);
  });

  it('knows the service also after its ServiceRegistry was changed', async () => {
    await scene.written(`[${VMS}]`, ['10.1.0.1:80']);
    scene.registry.answer('web', UNSEEN);
    await scene.settled();
    expect(instances()).toHaveLength(1);
    expect(scene.condition('ResolvedRefs')).toBe('True/ResolvedRefs');
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
  });

  it('removes the instances at once if the spec no longer names their service', async () => {
    await scene.written(MIXED, ['10.1.0.1:80', '10.1.0.2:80']);
    scene.setBackends([{ serviceRef: { name: 'web', port: 80 } }]);
    await scene.expectShares('10.0.0.1:8080=1');
  });

  it('keeps the instances when only weights change while the registry lists nothing', async () => {
    await scene.written(MIXED, ['10.1.0.1:80', '10.1.0.2:80']);
    const service = { serviceRef: { name: 'web', port: 80 }, weight: 50 };
    scene.setBackends([{ registryRef: { name: 'vms' }, service: 'web', weight: 50 }, service]);
    await scene.expectShares('10.0.0.1:8080=2', '10.1.0.1:80=1', '10.1.0.2:80=1');
    scene.registry.list('web');
    await scene.settled();
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
    expect(instances()).toHaveLength(2);
    scene.setBackends([service]);
    await scene.expectShares('10.0.0.1:8080=1');
  });

  it('keeps the instances after a change of the spec that needed no write while the registry lists nothing', async () => {
    const backend = { registryRef: { name: 'vms' }, service: 'web' };
    await scene.written(`[${VMS}]`, ['10.1.0.1:80', '10.1.0.2:80']);
    const { writes } = scene;
    scene.setBackends([{ ...backend, weight: 1 }]);
    await scene.settled();
    expect(scene.writes).toBe(writes);
    await scene.clock.advance(120_000);
    await scene.settled();
    scene.registry.list('web');
    await scene.settled();
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
    expect(instances()).toHaveLength(2);
  });

  describe('if the registry becomes unknown while it keeps instances', () => {
    it('keeps them until the registry answers, and then for their whole time', async () => {
      await scene.written(`[${VMS}]`, ['10.1.0.1:80', '10.1.0.2:80']);
      scene.registry.list('web');
      await scene.settled();
      await scene.clock.advance(5000);
      scene.registry.answer('web', DOWN);
      await scene.settled();
      await scene.clock.advance(600_000);
      await scene.settled();
      expect(instances()).toHaveLength(2);
      expect(scene.condition('ResolvedRefs')).toBe('Unknown/SourceUnavailable');
      expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');

      scene.registry.list('web');
      await scene.settled();
      await scene.clock.advance(89_000);
      await scene.settled();
      expect(instances()).toHaveLength(2);
      await scene.clock.advance(2000);
      await scene.expectShares();
    });

    it('keeps critical ones after holdFor', async () => {
      await scene.written(`[${VMS}]`, ['10.1.0.1:80', '10.1.0.2:80']);
      scene.registry.listCritical('web', '10.1.0.1:80', '10.1.0.2:80');
      await scene.settled();
      await scene.clock.advance(5000);
      scene.registry.answer('web', DOWN);
      await scene.settled();
      for (let minute = 0; minute < 10; minute += 2) {
        await scene.clock.advance(120_000);
        await scene.settled();
      }
      expect(instances()).toHaveLength(2);
    });

    it('keeps them also if the ServiceRegistry is deleted', async () => {
      await scene.written(`[${VMS}]`, ['10.1.0.1:80', '10.1.0.2:80']);
      scene.registry.list('web');
      await scene.settled();
      await scene.clock.advance(40_000);
      scene.registry.deleteRegistry('web');
      await scene.settled();
      await scene.clock.advance(600_000);
      await scene.settled();
      expect(instances()).toHaveLength(2);
      expect(scene.condition('ResolvedRefs')).toBe('Unknown/RegistryNotFound');
    });
  });

  it('keeps instances for vanishedHold from when they vanish, if they were critical before', async () => {
    await scene.written(`[${VMS}]`, ['10.1.0.1:80', '10.1.0.2:80'], '  removalGuard: {holdFor: 130s}');
    scene.registry.listCritical('web', '10.1.0.1:80', '10.1.0.2:80');
    await scene.settled();
    await scene.clock.advance(120_000);
    await scene.settled();
    scene.registry.list('web');
    await scene.settled();
    await scene.clock.advance(89_000);
    await scene.settled();
    expect(instances()).toHaveLength(2);
    await scene.clock.advance(2000);
    await scene.expectShares();
  });

  it('keeps instances although the weights of the backends change at that time', async () => {
    await scene.written(MIXED, ['10.1.0.1:80', '10.1.0.2:80']);
    scene.registry.list('web');
    await scene.settled();
    await scene.clock.advance(10_000);
    const service = { serviceRef: { name: 'web', port: 80 }, weight: 50 };
    const backend = { registryRef: { name: 'vms' }, service: 'web' };
    scene.setBackends([{ ...backend, weight: 50 }, service]);
    await scene.expectShares('10.0.0.1:8080=2', '10.1.0.1:80=1', '10.1.0.2:80=1');
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
    scene.setBackends([{ ...backend, weight: 0 }, service]);
    await scene.expectShares('10.0.0.1:8080=1');
  });

  it('removes kept instances at once if the backend selects others', async () => {
    await scene.written(MIXED, ['10.1.0.1:80', '10.1.0.2:80']);
    scene.registry.list('web');
    await scene.settled();
    expect(instances()).toHaveLength(2);
    const service = { serviceRef: { name: 'web', port: 80 } };
    scene.setBackends([
      { registryRef: { name: 'vms' }, service: 'web', metadata: { version: ['v2'] } },
      service,
    ]);
    await scene.expectShares('10.0.0.1:8080=1');
  });

  it('writes nothing while it keeps instances of uneven weights and nothing changes', async () => {
    const units = [1.63, 0.3, 1, 0.5, 0.5, 61.96, 1, 0.3, 43.75, 0.5, 1, 1, 23.46, 1, 0.5];
    const all = units.map((weight, index) => `10.1.0.${index + 1}:80=${weight}`);
    const vanished = new Set([0, 1, 2, 3, 4, 5, 9, 12]);
    const rest = all.filter((_, index) => !vanished.has(index));
    scene.setPods(...Array.from({ length: 11 }, (_, index) => `10.0.0.${index + 1}`));
    await scene.written(
      MIXED,
      all,
      '  loadBalancing: {type: ConsistentHash, hashOn: Vars, key: remote_addr}',
    );
    scene.registry.list('web', ...rest);
    await scene.settled();
    expect(instances()).toHaveLength(15);
    const before = scene.shares();
    const { writes } = scene;
    for (let round = 0; round < 5; round += 1) {
      scene.registry.list('web', ...rest);
      await scene.settled();
    }
    expect(scene.writes).toBe(writes);
    expect(scene.shares()).toEqual(before);
  });

  it('keeps the proportions when the first of all instances returns', async () => {
    const all = ['10.1.0.1:80=100', '10.1.0.2:80=100', '10.1.0.3:80=200'];
    await scene.written(MIXED, all);
    const before = scene.shares();
    scene.registry.list('web');
    await scene.settled();
    const { writes } = scene;
    scene.registry.list('web', ...all.slice(0, 1));
    await scene.settled();
    expect(scene.shares()).toEqual(before);
    expect(scene.writes).toBe(writes);
  });

  it('does not use the time of another hold for instances that vanish after a restart', async () => {
    const all = ['10.1.0.1:80', '10.1.0.2:80', '10.1.0.3:80', '10.1.0.4:80'];
    const fields = '  removalGuard: {whenExpired: Hold}';
    await scene.written(`[${VMS}]`, all, fields);
    scene.registry.listCritical('web', ...all);
    await scene.settled();
    await scene.clock.advance(600_000);
    await scene.settled();
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
    await scene.stop();
    scene.registry.answer('web', UNSEEN);
    scene.start(`[${VMS}]`, fields);
    await scene.settled();
    expect(instances()).toHaveLength(4);
    await scene.clock.advance(91_000);
    await scene.expectShares();
  });

  it('guards Pods again after a change that needed no write', async () => {
    await scene.written(`[${PODS}]`, []);
    const { writes } = scene;
    scene.setBackends([{ serviceRef: { name: 'web', port: 80 }, weight: 1 }]);
    await scene.settled();
    expect(scene.writes).toBe(writes);
    await scene.clock.advance(120_000);
    scene.setPods();
    await scene.settled();
    expect(scene.condition('RemovalHeld')).toBe('True/RemovalHeld');
    expect(scene.shares()).toHaveLength(1);
  });
});
