import { describe, expect, it } from 'vitest';
import type { RegistryErrorReason } from '../../../../src/model/registry-facts.ts';
import { RegistryError } from '../../../../src/sources/registry-source/protocol.ts';
import { settle } from '../../../support/fake-clock.ts';
import { noChange, startFakeRegistry } from '../../../support/registries/fake-registry.ts';

const errorOf = (reason: RegistryErrorReason, scope: RegistryError['scope'] = 'server') =>
  new RegistryError(reason, scope, { problem: `the registry has the problem ${reason}` });

/** A registry whose queries meet the errors of `registry`, and wait for a change otherwise. */
function start() {
  const registry = {
    /** By service. */
    errors: new Map<string, RegistryError>(),
    asked: [] as string[],
    reported: '1.0.0' as string | undefined,
  };
  const fake = startFakeRegistry({
    async answer({ query: { service }, cursor, waitMs }, signal) {
      registry.asked.push(service);
      const error = registry.errors.get(service) ?? registry.errors.get('*');
      if (error !== undefined) throw error;
      return cursor === undefined || waitMs === 0
        ? { instances: ['10.0.0.1'], cursor: 1 }
        : await noChange(signal);
    },
    version: async () => registry.reported,
    limits: { concurrentQueries: 10 },
  });
  return { ...fake, registry };
}

describe('the facts of a registry', () => {
  it('are known while nothing is followed', async () => {
    const { registry, source, clock } = start();
    expect(source.facts()).toMatchObject({ standing: { kind: 'starting' }, isVersionRead: false });
    await clock.advance(0);
    expect(source.facts()).toMatchObject({
      standing: { kind: 'answering' },
      version: '1.0.0',
      isVersionRead: true,
      services: { waiting: 0, current: 0, failing: 0, refused: 0 },
      lastCompleteAnswerAt: undefined,
    });
    registry.errors.set('*', errorOf('Unreachable'));
    await clock.advance(40_000);
    expect(source.facts().standing).toEqual({
      kind: 'failing',
      problem: { reason: 'Unreachable', message: 'the registry has the problem Unreachable' },
    });
    registry.errors.clear();
    await clock.advance(20_000);
    expect(source.facts().standing).toEqual({ kind: 'answering' });
  });

  it('show a rejected credential at once, and its correction', async () => {
    const { registry, source, clock, rotateSecrets } = start();
    await clock.advance(0);
    registry.errors.set('*', errorOf('Unauthorized', 'registry'));
    rotateSecrets();
    await clock.advance(0);
    expect(source.facts().standing).toMatchObject({ kind: 'failing', problem: { reason: 'Unauthorized' } });
    registry.errors.clear();
    rotateSecrets();
    await clock.advance(0);
    expect(source.facts().standing).toEqual({ kind: 'answering' });
  });

  it('count services by state, and forget those that are no longer followed', async () => {
    const { registry, source, clock, follow } = start();
    registry.errors.set('b', errorOf('Filtered', 'registry'));
    registry.errors.set('c', errorOf('InvalidAnswer', 'service'));
    const services = ['a', 'b', 'c'].map((service) => follow(service));
    await clock.advance(0);
    expect(source.facts().services).toEqual({ waiting: 0, current: 1, failing: 1, refused: 1 });
    for (const service of services) service[Symbol.dispose]();
    await settle();
    expect(source.facts().services).toEqual({ waiting: 0, current: 0, failing: 0, refused: 0 });
  });

  it('do not show a registry as failing because of one service', async () => {
    const { registry, source, clock, follow } = start();
    registry.errors.set('b', errorOf('ServerError'));
    follow('a');
    follow('b');
    await clock.advance(20_000);
    expect(source.facts()).toMatchObject({ standing: { kind: 'answering' }, services: { failing: 1 } });
  });

  it('show the problem that all followed services have, although the registry answers probes', async () => {
    const { registry, source, clock, follow } = start();
    registry.errors.set('a', errorOf('Filtered', 'registry'));
    follow('a');
    await clock.advance(20_000);
    expect(source.facts().standing).toMatchObject({ kind: 'failing', problem: { reason: 'Filtered' } });
    registry.errors.clear();
    await clock.advance(20_000);
    expect(source.facts().standing).toEqual({ kind: 'answering' });
  });

  it('ignore problems that concern only their service', async () => {
    const { registry, source, clock, follow } = start();
    registry.errors.set('a', errorOf('Unauthorized', 'service'));
    follow('a');
    await clock.advance(60_000);
    expect(source.facts()).toMatchObject({ standing: { kind: 'answering' }, services: { refused: 1 } });
  });

  it('have the time of the last complete answer about a service', async () => {
    const { registry, source, clock, follow } = start();
    await clock.advance(1000);
    const answeredAt = clock.now();
    follow('a');
    await clock.advance(0);
    registry.errors.set('*', errorOf('Unreachable'));
    await clock.advance(100_000);
    expect(source.facts().lastCompleteAnswerAt).toBe(answeredAt);
  });

  it('notice within seconds that a registry fails while most queries still wait for a change', async () => {
    const { registry, source, clock, follow } = start();
    for (const service of ['a', 'b', 'c']) follow(service);
    await clock.advance(0);
    expect(source.facts()).toMatchObject({ standing: { kind: 'answering' }, services: { current: 3 } });
    registry.errors.set('*', errorOf('Unreachable'));
    follow('d');
    await settle();
    await clock.advance(2000);
    expect(source.facts().standing).toMatchObject({ kind: 'failing', problem: { reason: 'Unreachable' } });
  });
});

describe('requests to a registry', () => {
  it('are counted by reason where they fail', async () => {
    const { registry, seen, clock, follow } = start();
    registry.errors.set('*', errorOf('Unreachable'));
    follow('a');
    await clock.advance(0);
    expect(seen.failed).toEqual(['Unreachable', 'Unreachable']);
  });

  it('come with back-off while the registry is down', async () => {
    const { registry, clock } = start();
    await clock.advance(0);
    registry.errors.set('*', errorOf('Unreachable'));
    await clock.advance(40_000);
    const before = registry.asked.length;
    await clock.advance(150_000);
    expect(registry.asked.length - before).toBeGreaterThan(8);
    expect(registry.asked.length - before).toBeLessThan(25);
  });

  it('ask for the version again after an outage', async () => {
    const { registry, source, clock } = start();
    await clock.advance(0);
    registry.errors.set('*', errorOf('Unreachable'));
    await clock.advance(40_000);
    registry.reported = '2.0.0';
    registry.errors.clear();
    await clock.advance(20_000);
    expect(source.facts().version).toBe('2.0.0');
  });

  it('ask for the version again with other credentials, which may have more rights', async () => {
    const { registry, source, clock, rotateSecrets } = start();
    registry.reported = undefined;
    await clock.advance(0);
    expect(source.facts()).toMatchObject({ version: undefined, isVersionRead: true });
    registry.reported = '1.0.0';
    rotateSecrets();
    await clock.advance(0);
    expect(source.facts().version).toBe('1.0.0');
  });
});
