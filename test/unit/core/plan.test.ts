import { describe, expect, it } from 'vitest';
import type { Desired } from '../../../src/core/desired.ts';
import type { ObservedUpstream, Upstream } from '../../../src/core/model.ts';
import type { Ownership } from '../../../src/core/ownership.ts';
import { planChange } from '../../../src/core/plan.ts';

const upstream: Upstream = {
  id: 'shop.web',
  labels: {},
  nodes: [],
  scheme: 'HTTP',
  loadBalancing: { type: 'RoundRobin' },
};
const held = (canonical: string): ObservedUpstream => ({ id: upstream.id, labels: {}, nodes: [], canonical });

describe('planChange', () => {
  it.each<[Desired['action'], Ownership, 'same' | 'other' | 'nothing', string]>([
    ['write', 'absent', 'nothing', 'create'],
    ['write', 'ours', 'same', 'none'],
    ['write', 'ours', 'other', 'update'],
    ['write', 'stripped', 'other', 'update, stripped'],
    ['write', 'foreign', 'other', 'foreign'],
    ['write', 'foreign', 'same', 'foreign'],
    ['onlyIfHeld', 'absent', 'nothing', 'none'],
    ['onlyIfHeld', 'ours', 'other', 'update'],
    ['onlyIfHeld', 'ours', 'same', 'none'],
    ['onlyIfHeld', 'foreign', 'other', 'foreign'],
    ['notYet', 'absent', 'nothing', 'none'],
    ['notYet', 'ours', 'other', 'none'],
    ['wait', 'absent', 'nothing', 'none'],
    ['wait', 'ours', 'other', 'none'],
    ['wait', 'stripped', 'other', 'none'],
    ['wait', 'foreign', 'other', 'none'],
  ])('%s, %s, the gateway holds %s: %s', (action, ownership, holds, expected) => {
    const observed = holds === 'nothing' ? undefined : held(holds);
    const change = planChange({ upstream, action }, 'same', observed, ownership);
    const stripped = change.kind === 'update' && change.stripped ? ', stripped' : '';
    expect(`${change.kind}${stripped}`).toBe(expected);
    if (change.kind === 'create' || change.kind === 'update') expect(change.desired).toBe(upstream);
    if (change.kind === 'foreign' || change.kind === 'update') expect(change.observed).toBe(observed);
  });
});
