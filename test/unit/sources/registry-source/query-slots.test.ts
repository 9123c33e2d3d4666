import { describe, expect, it } from 'vitest';
import { QuerySlots, SlotNeeded } from '../../../../src/sources/registry-source/query-slots.ts';
import { settle } from '../../../support/fake-clock.ts';

const never = new AbortController().signal;

describe('query slots', () => {
  it('are given first come, first served, never more than there are', async () => {
    const slots = new QuerySlots({ concurrentQueries: 2 }, () => 4);
    const begun: number[] = [];
    const ask = async (service: number) => {
      const slot = await slots.acquire(never);
      begun.push(service);
      return slot;
    };
    const [first] = await Promise.all([ask(1), ask(2)]);
    const waiting = [ask(3), ask(4)];
    await settle();
    expect(begun).toEqual([1, 2]);
    first?.[Symbol.dispose]();
    first?.[Symbol.dispose]();
    await settle();
    expect(begun).toEqual([1, 2, 3]);
    void waiting;
  });

  it('let a query wait for a long time while every service has one', async () => {
    const slot = await new QuerySlots({ concurrentQueries: 2 }, () => 2).acquire(never);
    expect(slot.waitMs).toBe(50_000);
    expect(slot.needed.aborted).toBe(false);
  });

  it('end the oldest long query when a service has none', async () => {
    const slots = new QuerySlots({ concurrentQueries: 2 }, () => 2);
    const [oldest, other] = [await slots.acquire(never), await slots.acquire(never)];
    const waiting = slots.acquire(never);
    expect(oldest?.needed.reason).toBeInstanceOf(SlotNeeded);
    expect(other?.needed.aborted).toBe(false);
    oldest?.[Symbol.dispose]();
    await waiting;
  });

  // Otherwise a tenant with many GatewayUpstreams could make the answers about all other services too old.
  it.each([101, 1000, 10_000, 20_000])('ask about each of %d services within 10 s', async (services) => {
    const size = 100;
    const { waitMs } = await new QuerySlots({ concurrentQueries: size }, () => services).acquire(never);
    expect((waitMs * services) / size).toBeLessThanOrEqual(10_000);
  });

  it('forget a service that no longer waits', async () => {
    const slots = new QuerySlots({ concurrentQueries: 1 }, () => 3);
    const held = await slots.acquire(never);
    const gone = new AbortController();
    const abandoned = slots.acquire(gone.signal);
    const next = slots.acquire(never);
    gone.abort(new Error('unsubscribed'));
    await expect(abandoned).rejects.toThrow('unsubscribed');
    held[Symbol.dispose]();
    expect((await next).waitMs).toBeGreaterThan(0);
  });

  it('are not shared with services that never had an instance', async () => {
    const slots = new QuerySlots({ concurrentQueries: 100 }, () => 16_001);
    for (let n = 0; n < 16_000; n += 1) slots.unseen.add({});
    expect((await slots.acquire(never)).waitMs).toBe(50_000);
  });

  it.each([
    ['every 10 s', { concurrentQueries: 100 }, 500, 10_000],
    ['less often the more there are', { concurrentQueries: 100 }, 16_000, 160_000],
    [
      'with at most a fifth of the rate limit',
      { concurrentQueries: 100, requestsPerSecond: 10 },
      500,
      250_000,
    ],
  ])('ask about services that never had an instance %s', (_, limits, unseen, roundMs) => {
    const slots = new QuerySlots(limits, () => unseen);
    for (let n = 0; n < unseen; n += 1) slots.unseen.add({});
    expect(slots.unseenRoundMs).toBe(roundMs);
  });

  it('are enough for services that never had an instance while every service has one', () => {
    const slots = new QuerySlots({ concurrentQueries: 100 }, () => 100);
    for (let n = 0; n < 50; n += 1) slots.unseen.add({});
    expect(slots.unseenRoundMs).toBe(0);
  });
});
