import { describe, expect, it } from 'vitest';
import { ServiceNotAllowed } from '../../../../src/sources/registry-source/protocol.ts';
import type { SourceChange } from '../../../../src/sources/source.ts';
import { createFakeClock, settle } from '../../../support/fake-clock.ts';
import { noChange, startFakeRegistry } from '../../../support/registries/fake-registry.ts';

/** A registry that answers at once, unless the query may wait for a change. `waits`: how long each query may have waited. */
function start() {
  const waits: number[] = [];
  const fake = startFakeRegistry({
    async answer({ query, waitMs }, signal) {
      if (query.service === 'web') waits.push(waitMs);
      return waitMs === 0 ? { instances: ['10.0.0.1'], cursor: 1 } : await noChange(signal);
    },
    limits: { concurrentQueries: 10 },
    random: () => 0,
  });
  return { ...fake, waits };
}

describe('a follower', () => {
  it('requests an immediate answer after the credentials change, then waits for changes', async () => {
    const { follow, rotateSecrets, waits } = start();
    follow('web');
    await settle();
    expect(waits).toEqual([0, 50_000]);
    rotateSecrets();
    await settle();
    expect(waits).toEqual([0, 50_000, 0, 50_000]);
  });

  it('answers that a service is not allowed, and does not keep its instances', async () => {
    let isAllowed = true;
    const { follow, read, rotateSecrets } = startFakeRegistry({
      async answer({ waitMs }, signal) {
        if (!isAllowed)
          throw new ServiceNotAllowed({ problem: 'groups does not list it', remedy: 'ask for it' });
        return waitMs === 0 ? { instances: ['10.0.0.1'], cursor: 1 } : await noChange(signal);
      },
    });
    follow('web');
    await settle();
    isAllowed = false;
    rotateSecrets();
    await settle();
    expect(read('web')).toMatchObject({
      reason: 'RegistryServiceNotAllowed',
      message: 'ServiceRegistry main does not allow service web: groups does not list it: ask for it',
    });
    isAllowed = true;
    rotateSecrets();
    await settle();
    expect(read('web').state).toBe('known');
  });

  it('pauses after answers without news for which many entries were read', async () => {
    const clock = createFakeClock();
    let answers = 0;
    const { follow } = startFakeRegistry({
      clock,
      async answer() {
        answers += 1;
        return { instances: answers === 1 ? ['10.0.0.1'] : undefined, cursor: answers, read: 10_000 };
      },
      random: () => 0,
    });
    follow('web');
    for (let second = 0; second < 100; second += 1) await clock.advance(1000);
    // Of the service, and of probes.
    expect(answers).toBeGreaterThan(15);
    expect(answers).toBeLessThan(35);
  });

  it('does not report its first answer as a change of instances, which is urgent', async () => {
    const { follow } = start();
    const changes: SourceChange[] = [];
    follow('web', (what) => changes.push(what));
    await settle();
    expect(changes).toEqual(['source']);
  });
});
