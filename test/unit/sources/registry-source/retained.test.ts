import { describe, expect, it } from 'vitest';
import { settle } from '../../../support/fake-clock.ts';
import { noChange, startFakeRegistry } from '../../../support/registries/fake-registry.ts';

const MIB = 1024 * 1024;
/** One instance of this size, and a name that makes it a string of its own. */
const instanceOf = (name: string, size: number) => [name.padEnd(size, 'x')];

/** A registry whose services have the sizes that `sizes` gives, in characters. `change` ends the wait of a service. */
function start(sizes: Map<string, number>) {
  const waiting = new Map<string, () => void>();
  const cursors = new Map<string, (number | undefined)[]>();
  const fake = startFakeRegistry({
    async answer({ query: { service }, cursor, waitMs }, signal) {
      cursors.set(service, [...(cursors.get(service) ?? []), cursor]);
      if (waitMs > 0) {
        const changed = new Promise<void>((resolve) => waiting.set(service, resolve));
        await Promise.race([changed, noChange(signal)]);
      }
      const size = sizes.get(service) ?? 1;
      return {
        instances: size === 0 && cursor !== undefined ? undefined : instanceOf(service, size),
        cursor: 1,
      };
    },
    random: () => 0,
  });
  return { ...fake, cursors, change: (service: string) => waiting.get(service)?.() };
}

describe('the instances of all services of a registry', () => {
  it('are limited: the largest service becomes unknown, the others stay', async () => {
    const sizes = new Map(Array.from({ length: 9 }, (_, index) => [`large-${index}`, 3.9 * MIB]));
    const { follow, read } = start(sizes.set('small', 100));
    for (const name of [...sizes.keys()]) follow(name);
    await settle();
    const states = [...sizes.keys()].map((name) => read(name).state);
    expect(states.filter((state) => state === 'unknown')).toHaveLength(1);
    expect(read('small').state).toBe('known');
    const refused = [...sizes.keys()].find((name) => read(name).state === 'unknown') ?? '';
    expect(read(refused)).toMatchObject({
      message: expect.stringContaining('more than 32 MiB in total, and this service is one of the largest'),
    });
  });

  it('makes the largest service forget its instances when a smaller one needs the room', async () => {
    const sizes = new Map<string, number>([
      ...Array.from({ length: 8 }, (_, index) => [`large-${index}`, 3.9 * MIB] as [string, number]),
      ['new', 2 * MIB],
    ]);
    const { clock, cursors, follow, read, change } = start(sizes);
    for (let index = 0; index < 8; index += 1) follow(`large-${index}`);
    await settle();
    expect(read('large-0').state).toBe('known');
    follow('new');
    await settle();
    expect(read('new').state).toBe('known');
    const forgotten = [...sizes.keys()].filter((name) => read(name).state === 'unknown');
    expect(forgotten).toHaveLength(1);

    // It is current again when there is room, and its query was complete.
    const [name = ''] = forgotten;
    sizes.set(name, MIB);
    change(name);
    await clock.advance(60_000);
    await settle();
    expect(read(name).state).toBe('known');
    expect(cursors.get(name)?.at(0)).toBeUndefined();
  });

  it('asks for a complete answer if the instances were forgotten while the registry had no change', async () => {
    const sizes = new Map<string, number>([
      ...Array.from({ length: 8 }, (_, index) => [`large-${index}`, 3.9 * MIB] as [string, number]),
      ['new', 2 * MIB],
    ]);
    const { cursors, follow, read, change } = start(sizes);
    for (let index = 0; index < 8; index += 1) follow(`large-${index}`);
    await settle();
    const done = follow('new');
    await settle();
    const [name = ''] = [...sizes.keys()].filter((one) => read(one).state === 'unknown');
    done[Symbol.dispose]();
    // The registry says that nothing has changed since the cursor of the answer that was forgotten.
    sizes.set(name, 0);
    const asked = cursors.get(name)?.length ?? 0;
    change(name);
    await settle();
    expect(cursors.get(name)?.slice(asked)).toContain(undefined);
    expect(read(name).state).toBe('known');
  });

  it('have room again after a service is no longer followed', async () => {
    const sizes = new Map(Array.from({ length: 9 }, (_, index) => [`large-${index}`, 3.9 * MIB]));
    const { clock, follow, read } = start(sizes);
    const uses = [...sizes.keys()].map((name) => [name, follow(name)] as const);
    await settle();
    const [refused = ''] = [...sizes.keys()].filter((name) => read(name).state === 'unknown');
    for (const [name, use] of uses.slice(0, 2)) if (name !== refused) use[Symbol.dispose]();
    await clock.advance(60_000);
    await settle();
    expect(read(refused).state).toBe('known');
  });
});
