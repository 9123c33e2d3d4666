import { describe, expect, it } from 'vitest';
import type { Change, Terms } from '../../../src/decide/change.ts';
import type { Desired } from '../../../src/decide/desired.ts';
import { diffUpstream } from '../../../src/decide/diff-upstream.ts';
import type { Ownership } from '../../../src/decide/ownership.ts';
import type { ObservedUpstream, Upstream } from '../../../src/model/upstream.ts';

const node = { host: '10.0.0.1', port: 80, weight: 1, priority: 0 };
const upstream: Upstream = {
  id: 'shop.web',
  labels: {},
  nodes: [node],
  scheme: 'HTTP',
  loadBalancing: { type: 'RoundRobin' },
};
const held = (canonical: string): ObservedUpstream => ({ id: upstream.id, labels: {}, nodes: [], canonical });
const whole: Terms = { manage: 'Object', mayAdopt: false, keptBefore: false, marksIn: 'labels' };
const nodesOnly: Terms = { manage: 'Nodes', mayAdopt: false, keptBefore: true, marksIn: 'labels' };

/** `update, stripped`, `blocked, NotOwned`. */
const told = (change: Change): string => {
  if (change.kind === 'update') return `update, ${change.from}`;
  return change.kind === 'blocked' ? `blocked, ${change.programmed.reason}` : change.kind;
};
const reasonOf = (change: Change) =>
  change.kind === 'blocked' ? change.programmed.message : `not blocked, but ${change.kind}`;

describe('planChange', () => {
  it.each<[Desired['action'], Ownership, 'same' | 'other' | 'nothing', string]>([
    ['write', 'absent', 'nothing', 'create'],
    ['write', 'ours', 'same', 'none'],
    ['write', 'ours', 'other', 'update, ours'],
    ['write', 'stripped', 'other', 'update, stripped'],
    ['write', 'unowned', 'other', 'blocked, NotOwned'],
    ['write', 'unowned', 'same', 'blocked, NotOwned'],
    ['write', 'foreign', 'other', 'blocked, NotOwned'],
    ['write', 'foreign', 'same', 'blocked, NotOwned'],
    ['onlyIfHeld', 'absent', 'nothing', 'none'],
    ['onlyIfHeld', 'ours', 'other', 'update, ours'],
    ['onlyIfHeld', 'ours', 'same', 'none'],
    ['onlyIfHeld', 'foreign', 'other', 'blocked, NotOwned'],
    ['notYet', 'absent', 'nothing', 'none'],
    ['notYet', 'ours', 'other', 'none'],
    ['wait', 'absent', 'nothing', 'none'],
    ['wait', 'ours', 'other', 'none'],
    ['wait', 'stripped', 'other', 'none'],
    ['wait', 'foreign', 'other', 'none'],
  ])('%s, %s, the gateway holds %s: %s', (action, ownership, holds, expected) => {
    const observed = holds === 'nothing' ? undefined : held(holds);
    const change = diffUpstream({ upstream, action }, 'same', observed, ownership, whole);
    expect(told(change)).toBe(expected);
    if (change.kind === 'create' || change.kind === 'update') expect(change.desired).toBe(upstream);
    if (change.kind === 'update') expect(change.observed).toBe(observed);
  });

  it.each<[Desired['action'], Ownership, 'same' | 'other' | 'nothing', string]>([
    ['write', 'absent', 'nothing', 'blocked, UpstreamNotFound'],
    ['write', 'unowned', 'other', 'updateNodes'],
    ['write', 'unowned', 'same', 'none'],
    ['write', 'ours', 'other', 'updateNodes'],
    ['write', 'foreign', 'other', 'blocked, NotOwned'],
    ['write', 'foreign', 'same', 'blocked, NotOwned'],
    ['onlyIfHeld', 'absent', 'nothing', 'blocked, UpstreamNotFound'],
    ['onlyIfHeld', 'unowned', 'other', 'updateNodes'],
    ['wait', 'unowned', 'other', 'none'],
    ['wait', 'absent', 'nothing', 'none'],
  ])('with manage Nodes: %s, %s, the gateway holds %s: %s', (action, ownership, holds, expected) => {
    const observed = holds === 'nothing' ? undefined : held(holds);
    expect(told(diffUpstream({ upstream, action }, 'same', observed, ownership, nodesOnly))).toBe(expected);
  });

  it('with manage Nodes begins with no write that takes all nodes away', () => {
    const empty = { upstream: { ...upstream, nodes: [] }, action: 'onlyIfHeld' } as const;
    const begin = diffUpstream(empty, 'same', held('other'), 'unowned', {
      ...nodesOnly,
      keptBefore: false,
      marksIn: 'labels',
    });
    expect(reasonOf(begin)).toContain('would lose all its nodes');
    expect(told(diffUpstream(empty, 'same', held('other'), 'unowned', nodesOnly))).toBe('updateNodes');
  });

  it('with manage Nodes leaves alone what the gateway discovers by itself', () => {
    const discovery = { by: 'Kubernetes', fields: ['discovery_type', 'service_name'] } as const;
    const change = diffUpstream(
      { upstream, action: 'write' },
      'same',
      { ...held('other'), discovery },
      'unowned',
      nodesOnly,
    );
    expect(told(change)).toBe('blocked, UsesDiscovery');
    expect(reasonOf(change)).toContain('(discovery_type, service_name)');
  });
});

describe('what nobody owns', () => {
  const adopting: Terms = { ...whole, mayAdopt: true };
  const desired = JSON.stringify({
    labels: { a: '1', owner: 'us' },
    nodes: [node],
    timeout: { connect: 1, read: 1, send: 1 },
    retries: 2,
  });
  const adopt = (
    fields: object,
    more: Partial<ObservedUpstream> = {},
    ownership: Ownership = 'unowned',
    nodes: Upstream['nodes'] = upstream.nodes,
  ) =>
    diffUpstream(
      { upstream: { ...upstream, nodes }, action: 'write' },
      desired,
      { ...held(JSON.stringify(fields)), ...more },
      ownership,
      adopting,
    );

  it.each<[string, object]>([
    ['nodes alone', { nodes: [] }],
    ['fields that are stated, whatever they hold', { nodes: [], retries: 5, timeout: { connect: 9 } }],
    ['labels that are stated', { labels: { a: '2' }, nodes: [] }],
  ])('is taken over with %s', (_, fields) => {
    expect(told(adopt(fields))).toBe('update, unowned');
  });

  it.each<[string, object, string]>([
    ['a field', { nodes: [], name: 'x', checks: {} }, 'checks, name'],
    ['a part of a field', { nodes: [], timeout: { connect: 1, idle: 1 } }, 'timeout.idle'],
    ['a label', { nodes: [], labels: { a: '1', team: 'x' } }, 'labels.team'],
  ])('is left alone with %s that is not stated', (_, fields, names) => {
    expect(reasonOf(adopt(fields))).toContain(`has fields that the spec does not set (${names}): `);
  });

  it('is taken over from the discovery of Kubernetes, and from no other', () => {
    const fields = { service_name: 'shop/web:http', discovery_type: 'kubernetes' };
    const names = ['discovery_type', 'service_name'];
    expect(told(adopt(fields, { discovery: { by: 'Kubernetes', fields: names } }))).toBe('update, unowned');
    expect(reasonOf(adopt(fields, { discovery: { by: 'other', fields: names } }))).toContain(
      'discovery_type, service_name',
    );
  });

  it('is left alone while it would have no nodes, and where it is not asked for', () => {
    expect(reasonOf(adopt({ nodes: [] }, {}, 'unowned', []))).toContain('would lose all its nodes');
    expect(told(adopt({ nodes: [] }, {}, 'foreign'))).toBe('blocked, NotOwned');
    const never = diffUpstream({ upstream, action: 'write' }, desired, held('{}'), 'unowned', whole);
    expect(reasonOf(never)).toContain('take it over with adoptionPolicy IfUnowned');
  });
});
