import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type GuardInput,
  guardRemoval,
  placeOf,
  type RemovalReason,
} from '../../../src/decide/removal-guard.ts';
import type { UpstreamNode } from '../../../src/model/upstream.ts';

const node = (last: number, weight = 1): UpstreamNode => ({
  host: `10.0.0.${last}`,
  port: 8080,
  weight,
  priority: 0,
});
const nodes = (count: number) => Array.from({ length: count }, (_, index) => node(index));

function guard(change: Partial<GuardInput> & { readonly fate?: RemovalReason }) {
  return guardRemoval({
    policy: { maxRemovalPercent: 50, holdForMs: 300_000, whenExpired: 'Clear' },
    observed: nodes(10),
    desired: [],
    lost: [],
    removalReasonOf: () => change.fate ?? 'sick',
    heldSince: undefined,
    acceptedUntil: undefined,
    now: 1_000_000,
    ...change,
  });
}

describe('guardRemoval', () => {
  it.each([
    { left: 5, held: 0 },
    { left: 4, held: 6 },
    { left: 0, held: 10 },
  ])('of ten nodes with $left left holds $held', ({ left, held }) => {
    expect(guard({ desired: nodes(left) }).held).toHaveLength(held);
  });

  it('holds the last one, whatever the percentage but 100', () => {
    const policy = { holdForMs: 300_000, whenExpired: 'Clear' } as const;
    const observed = nodes(1);
    expect(guard({ observed, policy: { ...policy, maxRemovalPercent: 99 } }).held).toEqual(observed);
    expect(guard({ observed, policy: { ...policy, maxRemovalPercent: 100 } }).held).toEqual([]);
  });

  it('lets a rolling update pass, in which every address is another one', () => {
    const desired = [node(100), node(101), node(102)];
    expect(guard({ observed: nodes(3), desired, fate: 'vanished' }).held).toEqual([]);
  });

  it('lets what is explained pass at once, and holds the rest', () => {
    const { held } = guard({
      removalReasonOf: ({ host }) => (host.endsWith('.3') ? 'sick' : 'explained'),
    });
    expect(held).toEqual([node(3)]);
  });

  it('counts neither wanted nor held nodes that carry no weight', () => {
    expect(guard({ observed: [node(1), node(2, 0)], desired: [node(2, 0)] }).held).toEqual([node(1)]);
  });

  it('lets go of what vanished after 30 s and of what is sick after its time, both from the beginning', () => {
    const removalReasonOf = ({ host }: UpstreamNode): RemovalReason =>
      host.endsWith('.3') ? 'vanished' : 'sick';
    const observed = nodes(4);
    const began = 1_000_000;
    const at = (now: number) => guard({ observed, removalReasonOf, heldSince: began, now });
    expect(at(began)).toMatchObject({ held: observed, until: began + 30_000 });
    expect(at(began + 29_999).held).toHaveLength(4);
    expect(at(began + 30_000)).toMatchObject({ held: nodes(3), until: began + 300_000 });
    expect(at(began + 300_000)).toMatchObject({ held: [], until: undefined });
  });

  it('counts a hold that begins in the future from now: the clock was set back', () => {
    const day = 86_400_000;
    const now = 1_000_000;
    expect(guard({ fate: 'vanished', heldSince: now + day, now })).toMatchObject({
      since: now,
      until: now + 30_000,
    });
    expect(guard({ fate: 'sick', heldSince: now + day, now })).toMatchObject({ until: now + 300_000 });
  });

  it('holds what is sick for ever where that is asked for', () => {
    const policy = { maxRemovalPercent: 50, holdForMs: 1000, whenExpired: 'Hold' } as const;
    expect(guard({ policy, heldSince: 0, now: 10_000_000 })).toMatchObject({
      held: nodes(10),
      until: undefined,
    });
  });

  it('is ended by a word that was given after it began, not by an older one', () => {
    expect(guard({ heldSince: 1000, now: 2000, acceptedUntil: 1000 }).held).toEqual([]);
    expect(guard({ heldSince: 1000, now: 2000, acceptedUntil: 999 }).held).toHaveLength(10);
    expect(guard({ heldSince: undefined, now: 2000, acceptedUntil: 1000 }).held).toHaveLength(10);
  });

  it('counts what went unexplained a moment ago as if it went now', () => {
    const observed = nodes(6);
    const lost = nodes(10).slice(6).map(placeOf);
    expect(guard({ observed, desired: nodes(4), lost }).held).toEqual([node(4), node(5)]);
    expect(guard({ observed, desired: nodes(5), lost })).toMatchObject({ held: [], lost: [node(5)] });
    expect(guard({ observed, desired: [...nodes(4), node(8)], lost }).held).toEqual([]);
  });

  it('says what goes unexplained only where it is not explained', () => {
    const removalReasonOf = ({ host }: UpstreamNode): RemovalReason =>
      host.endsWith('.9') ? 'explained' : 'vanished';
    expect(guard({ desired: nodes(8), removalReasonOf }).lost).toEqual([node(8)]);
  });

  it('never holds what is wanted, what carries nothing, or what the gateway does not hold', () => {
    const place = fc.integer({ min: 1, max: 12 });
    const list = fc
      .uniqueArray(place, { maxLength: 10 })
      .chain((places) => fc.tuple(...places.map((last) => fc.nat({ max: 2 }).map((w) => node(last, w)))));
    fc.assert(
      fc.property(
        list,
        list,
        fc.array(fc.constantFrom<RemovalReason>('explained', 'sick', 'vanished'), {
          minLength: 13,
          maxLength: 13,
        }),
        fc.nat({ max: 100 }),
        fc.nat({ max: 400_000 }),
        (observed, desired, removals, maxRemovalPercent, age) => {
          const { held, until } = guardRemoval({
            policy: { maxRemovalPercent, holdForMs: 300_000, whenExpired: 'Clear' },
            observed,
            desired,
            lost: [],
            removalReasonOf: ({ host }) => removals[Number(host.split('.')[3])] ?? 'sick',
            heldSince: 0,
            acceptedUntil: undefined,
            now: age,
          });
          const wanted = new Set(desired.map(({ host }) => host));
          for (const one of held) {
            expect(observed).toContain(one);
            expect(one.weight).toBeGreaterThan(0);
            expect(wanted.has(one.host)).toBe(false);
            expect(removals[Number(one.host.split('.')[3])]).not.toBe('explained');
          }
          expect(held.length > 0).toBe(until !== undefined);
          if (until !== undefined) expect(until).toBeGreaterThan(age);
        },
      ),
    );
  });
});
