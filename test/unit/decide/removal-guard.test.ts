import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type GuardInput,
  guardRemoval,
  type KeptSince,
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

interface Change extends Partial<Omit<GuardInput, 'removalOf' | 'keptBefore'>> {
  readonly reason?: RemovalReason;
  readonly reasonOf?: (node: UpstreamNode) => RemovalReason;
  readonly backendOf?: (node: UpstreamNode) => number | undefined;
  /** When the guard began to keep nodes, for the reason of their removal. */
  readonly since?: number | ((node: UpstreamNode) => number | undefined) | undefined;
  /** When the reasons of nodes began that are kept since 0. */
  readonly begun?: KeptSince['begun'];
}

function guard({ reason = 'sick', reasonOf = () => reason, backendOf, since, begun, ...change }: Change) {
  const { held, lost } = guardRemoval({
    policy: { maxRemovalPercent: 50, holdForMs: 300_000, whenExpired: 'Clear' },
    observed: nodes(10),
    desired: [],
    backends: [],
    lost: [],
    removalOf: (one) => ({ reason: reasonOf(one), backend: backendOf?.(one) }),
    vanishedHoldMs: () => 30_000,
    isUnknown: () => false,
    returnsGradually: () => false,
    keptBefore: ({ node: one, reason: why }) => {
      if (begun !== undefined) return { since: 0, begun };
      const at = typeof since === 'function' ? since(one) : since;
      return at === undefined ? undefined : { since: at, begun: { [why]: at } };
    },
    acceptedUntil: undefined,
    now: 1_000_000,
    ...change,
  });
  const until = Math.min(...held.map((one) => one.until));
  return {
    held: held.map((one) => one.node),
    begun: held.map((one) => one.begun),
    since: held.map((one) => one.since),
    until: Number.isFinite(until) ? until : undefined,
    lost: lost.map((one) => one.node),
  };
}

const lostPlaces = (list: readonly UpstreamNode[], backend?: number) =>
  list.map((one) => ({ place: placeOf(one), backend }));

describe('guardRemoval', () => {
  it.each([
    { left: 5, held: 0 },
    { left: 4, held: 6 },
    { left: 0, held: 10 },
  ])('keeps $held of ten nodes if $left remain', ({ left, held }) => {
    expect(guard({ desired: nodes(left) }).held).toHaveLength(held);
  });

  it('keeps the last node at any percentage below 100', () => {
    const policy = { holdForMs: 300_000, whenExpired: 'Clear' } as const;
    const observed = nodes(1);
    expect(guard({ observed, policy: { ...policy, maxRemovalPercent: 99 } }).held).toEqual(observed);
    expect(guard({ observed, policy: { ...policy, maxRemovalPercent: 100 } }).held).toEqual([]);
  });

  it('allows a rolling update that replaces every address', () => {
    const desired = [node(100), node(101), node(102)];
    expect(guard({ observed: nodes(3), desired, reason: 'vanished' }).held).toEqual([]);
  });

  it('removes explained nodes at once and keeps the others', () => {
    const { held } = guard({
      reasonOf: ({ host }) => (host.endsWith('.3') ? 'sick' : 'explained'),
    });
    expect(held).toEqual([node(3)]);
  });

  it('ignores nodes of weight 0 in its counts', () => {
    expect(guard({ observed: [node(1), node(2, 0)], desired: [node(2, 0)] }).held).toEqual([node(1)]);
  });

  it('keeps vanished nodes for 30 s and sick nodes for holdFor from the same start', () => {
    const reasonOf = ({ host }: UpstreamNode): RemovalReason => (host.endsWith('.3') ? 'vanished' : 'sick');
    const observed = nodes(4);
    const began = 1_000_000;
    const at = (now: number) => guard({ observed, reasonOf, since: began, now });
    expect(at(began)).toMatchObject({ held: observed, until: began + 30_000 });
    expect(at(began + 29_999).held).toHaveLength(4);
    expect(at(began + 30_000)).toMatchObject({ held: nodes(3), until: began + 300_000 });
    expect(at(began + 300_000)).toMatchObject({ held: [], until: undefined });
  });

  it('treats a future start as now after the clock was set back', () => {
    const day = 86_400_000;
    const now = 1_000_000;
    expect(guard({ reason: 'vanished', since: now + day, now })).toMatchObject({
      since: Array.from({ length: 10 }, () => now),
      until: now + 30_000,
    });
    expect(guard({ reason: 'sick', since: now + day, now })).toMatchObject({ until: now + 300_000 });
  });

  it('keeps sick nodes without a limit with whenExpired Hold', () => {
    const policy = { maxRemovalPercent: 50, holdForMs: 1000, whenExpired: 'Hold' } as const;
    expect(guard({ policy, since: 0, now: 10_000_000 })).toMatchObject({
      held: nodes(10),
      until: undefined,
    });
  });

  describe('with nodes whose reason changes', () => {
    const now = 1_000_000;

    it('keeps a vanished node for its own time if it was sick before', () => {
      const kept = { reason: 'vanished', begun: { sick: now - 600_000 }, now } as const;
      expect(guard(kept)).toMatchObject({ until: now + 30_000 });
      expect(guard(kept).begun[0]).toEqual({ sick: now - 600_000, vanished: now });
    });

    it('keeps it for the rest of holdFor if that is longer', () => {
      expect(guard({ reason: 'vanished', begun: { sick: now - 120_000 }, now })).toMatchObject({
        until: now + 180_000,
      });
    });

    it('keeps it until an acceptance with whenExpired Hold', () => {
      const policy = { maxRemovalPercent: 50, holdForMs: 1000, whenExpired: 'Hold' } as const;
      const kept = { policy, reason: 'vanished', begun: { sick: 0 }, now } as const;
      expect(guard(kept)).toMatchObject({ held: nodes(10), until: undefined });
      expect(guard({ ...kept, acceptedUntil: now }).held).toEqual([]);
    });
  });

  describe('with a backend whose source has no current answer', () => {
    const now = 1_000_000;

    it('keeps the nodes without a limit, and begins their times again after an answer', () => {
      const down = guard({ reason: 'vanished', since: 0, now, isUnknown: () => true });
      expect(down).toMatchObject({ held: nodes(10), until: undefined });
      const begun = down.begun[0] ?? {};
      expect(guard({ reason: 'vanished', begun, now })).toMatchObject({ until: now + 30_000 });
    });

    it('removes no kept node because others returned', () => {
      const desired = nodes(8);
      expect(guard({ desired, since: 0, now, isUnknown: () => true }).held).toEqual([node(8), node(9)]);
      expect(guard({ desired, now, isUnknown: () => true }).held).toEqual([]);
      expect(guard({ desired, since: 0, now }).held).toEqual([]);
    });

    it('removes them after an acceptance', () => {
      expect(guard({ since: 0, now, acceptedUntil: 0, isUnknown: () => true }).held).toEqual([]);
    });
  });

  describe('with a backend whose instances register again one after the other', () => {
    const now = 10_000;
    const returning = { desired: nodes(8), since: 0, now, returnsGradually: () => true };

    it('keeps the vanished nodes until their own time ends, although most have returned', () => {
      expect(guard({ ...returning, reason: 'vanished' })).toMatchObject({
        held: [node(8), node(9)],
        until: 30_000,
      });
      expect(guard({ ...returning, reason: 'vanished', now: 30_000 }).held).toEqual([]);
      expect(guard({ ...returning, reason: 'vanished', since: undefined }).held).toEqual([]);
    });

    it('removes sick nodes once most have returned', () => {
      expect(guard({ ...returning, reason: 'sick' }).held).toEqual([]);
    });
  });

  it('ends after an acceptance of the current removal, but not of an earlier one', () => {
    expect(guard({ since: 1000, now: 2000, acceptedUntil: 1000 }).held).toEqual([]);
    expect(guard({ since: 1000, now: 2000, acceptedUntil: 999 }).held).toHaveLength(10);
    expect(guard({ since: undefined, now: 2000, acceptedUntil: 1000 }).held).toHaveLength(10);
  });

  it('counts recently lost nodes as removed now', () => {
    const observed = nodes(6);
    const lost = nodes(10).slice(6);
    expect(guard({ observed, desired: nodes(4), lost: lostPlaces(lost) }).held).toEqual([node(4), node(5)]);
    expect(guard({ observed, desired: nodes(5), lost: lostPlaces(lost) })).toMatchObject({
      held: [],
      lost: [node(5)],
    });
    expect(guard({ observed, desired: [...nodes(4), node(8)], lost: lostPlaces(lost) }).held).toEqual([]);
  });

  it('reports only unexplained removals as lost', () => {
    const reasonOf = ({ host }: UpstreamNode): RemovalReason =>
      host.endsWith('.9') ? 'explained' : 'vanished';
    expect(guard({ desired: nodes(8), reasonOf }).lost).toEqual([node(8)]);
  });

  describe('with several backends', () => {
    // Backend 0: two machines. Backend 1: eight Pods.
    const machines = nodes(2);
    const pods = nodes(10).slice(2);
    const backendOf = ({ host }: UpstreamNode) => (Number(host.split('.')[3]) < 2 ? 0 : 1);
    const backends = (zero: readonly UpstreamNode[], one: readonly UpstreamNode[]) =>
      [zero, one].map((list, index) => ({ index, places: new Set(list.map(placeOf)) }));
    const judge = (zero: readonly UpstreamNode[], one: readonly UpstreamNode[], change: Change = {}) =>
      guard({ desired: [...zero, ...one], backends: backends(zero, one), backendOf, ...change });

    it('keeps all nodes of one backend although most nodes of the upstream stay', () => {
      expect(judge([], pods).held).toEqual(machines);
      expect(guard({ desired: pods, backendOf }).held).toEqual([]);
    });

    it('removes few nodes of another backend at the same time', () => {
      expect(judge([], pods.slice(1))).toMatchObject({ held: machines, lost: [pods[0]] });
    });

    it('removes half of the nodes of a backend, but not more', () => {
      expect(judge(machines.slice(1), pods)).toMatchObject({ held: [], lost: [machines[0]] });
      const lost = lostPlaces(machines.slice(0, 1), 0);
      const observed = [...machines.slice(1), ...pods];
      expect(judge([], pods, { observed, lost }).held).toEqual(machines.slice(1));
    });

    it('counts new nodes of a backend as replacements of its own nodes only', () => {
      expect(judge([node(20), node(21)], pods).held).toEqual([]);
      expect(judge([], [...pods, node(20), node(21)]).held).toEqual(machines);
    });

    it('keeps the vanished nodes of each backend for its own time', () => {
      const vanishedHoldMs = (backend: number | undefined) => (backend === 0 ? 90_000 : 30_000);
      const at = (now: number) =>
        judge([], [], { reason: 'vanished', vanishedHoldMs, since: 1_000_000, now: 1_000_000 + now }).held;
      expect(at(29_999)).toHaveLength(10);
      expect(at(30_000)).toEqual(machines);
      expect(at(90_000)).toEqual([]);
    });
  });

  it('starts the time of each node when the node is lost', () => {
    const since = ({ host }: UpstreamNode) => (host === '10.0.0.1' ? 1000 : undefined);
    const { held, lost } = guard({ observed: nodes(3), reason: 'vanished', since, now: 31_000 });
    expect(held).toEqual([node(0), node(2)]);
    expect(lost).toEqual([node(1)]);
  });

  it('counts removed nodes whose time ended while others are kept', () => {
    const observed = nodes(10).slice(3);
    const lost = lostPlaces(nodes(3));
    expect(guard({ observed, desired: nodes(10).slice(6), lost }).held).toHaveLength(3);
  });

  it('never keeps desired nodes, nodes of weight 0, or nodes that the gateway does not have', () => {
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
          const { held, until } = guard({
            policy: { maxRemovalPercent, holdForMs: 300_000, whenExpired: 'Clear' },
            observed,
            desired,
            reasonOf: ({ host }) => removals[Number(host.split('.')[3])] ?? 'sick',
            since: 0,
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
