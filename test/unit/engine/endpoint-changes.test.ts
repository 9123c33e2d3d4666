import { describe, expect, it } from 'vitest';
import { EndpointChanges } from '../../../src/engine/endpoint-changes.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const KEY = 'ns/a';

describe('EndpointChanges', () => {
  it('keeps the oldest of several changes until it is taken', async () => {
    const clock = createFakeClock();
    const changes = new EndpointChanges(clock);
    const first = clock.monotonic();
    changes.arrived(KEY);
    await clock.advance(10);
    changes.arrived(KEY);
    expect(changes.take(KEY)).toBe(first);
    expect(changes.take(KEY)).toBeUndefined();
  });

  it('takes back what could not be carried out, before what arrived meanwhile', async () => {
    const clock = createFakeClock();
    const changes = new EndpointChanges(clock);
    changes.arrived(KEY);
    const since = changes.take(KEY);
    await clock.advance(10);
    changes.arrived(KEY);
    changes.restore(KEY, since);
    changes.restore('ns/b', undefined);
    expect(changes.take(KEY)).toBe(since);
    expect(changes.take('ns/b')).toBeUndefined();
  });

  it('tells which objects have a change that was not carried out', () => {
    const changes = new EndpointChanges(createFakeClock());
    expect(changes.waits(KEY)).toBe(false);
    changes.arrived(KEY);
    expect(changes.waits(KEY)).toBe(true);
    const since = changes.take(KEY);
    expect(changes.waits(KEY)).toBe(false);
    changes.restore(KEY, since);
    expect(changes.waits(KEY)).toBe(true);
  });

  it('forgets objects that are gone', () => {
    const changes = new EndpointChanges(createFakeClock());
    changes.arrived(KEY);
    changes.forget(KEY);
    expect(changes.take(KEY)).toBeUndefined();
  });
});
