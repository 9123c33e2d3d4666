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
const observedWith = (canonical: string): ObservedUpstream => ({
  id: upstream.id,
  labels: {},
  nodes: [],
  canonical,
});
const whole: Terms = { manage: 'Object', mayAdopt: false, keptBefore: false, marksIn: 'labels' };
const nodesOnly: Terms = { manage: 'Nodes', mayAdopt: false, keptBefore: true, marksIn: 'labels' };

/** `update, stripped`, `blocked, NotOwned`. */
const summaryOf = (change: Change): string => {
  if (change.kind === 'update') return `update, ${change.from}`;
  return change.kind === 'blocked' ? `blocked, ${change.programmed.reason}` : change.kind;
};
const reasonOf = (change: Change) =>
  change.kind === 'blocked' ? change.programmed.message : `not blocked, but ${change.kind}`;

describe('diffUpstream', () => {
  it.each<[Desired['action'], Ownership, 'same' | 'other' | 'nothing', string]>([
    ['write', 'absent', 'nothing', 'create'],
    ['write', 'ours', 'same', 'none'],
    ['write', 'ours', 'other', 'update, ours'],
    ['write', 'stripped', 'other', 'update, stripped'],
    ['write', 'unowned', 'other', 'blocked, NotOwned'],
    ['write', 'unowned', 'same', 'blocked, NotOwned'],
    ['write', 'foreign', 'other', 'blocked, NotOwned'],
    ['write', 'foreign', 'same', 'blocked, NotOwned'],
    ['onlyIfPresent', 'absent', 'nothing', 'none'],
    ['onlyIfPresent', 'ours', 'other', 'update, ours'],
    ['onlyIfPresent', 'ours', 'same', 'none'],
    ['onlyIfPresent', 'foreign', 'other', 'blocked, NotOwned'],
    ['notYet', 'absent', 'nothing', 'none'],
    ['notYet', 'ours', 'other', 'none'],
    ['wait', 'absent', 'nothing', 'none'],
    ['wait', 'ours', 'other', 'none'],
    ['wait', 'stripped', 'other', 'none'],
    ['wait', 'foreign', 'other', 'none'],
  ])('action %s, ownership %s, content %s: %s', (action, ownership, content, expected) => {
    const observed = content === 'nothing' ? undefined : observedWith(content);
    const change = diffUpstream({ upstream, action }, 'same', observed, ownership, whole);
    expect(summaryOf(change)).toBe(expected);
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
    ['onlyIfPresent', 'absent', 'nothing', 'blocked, UpstreamNotFound'],
    ['onlyIfPresent', 'unowned', 'other', 'updateNodes'],
    ['wait', 'unowned', 'other', 'none'],
    ['wait', 'absent', 'nothing', 'none'],
  ])('manage Nodes, action %s, ownership %s, content %s: %s', (action, ownership, content, expected) => {
    const observed = content === 'nothing' ? undefined : observedWith(content);
    expect(summaryOf(diffUpstream({ upstream, action }, 'same', observed, ownership, nodesOnly))).toBe(
      expected,
    );
  });

  it('does not remove all nodes with its first write with manage Nodes', () => {
    const empty = { upstream: { ...upstream, nodes: [] }, action: 'onlyIfPresent' } as const;
    const begin = diffUpstream(empty, 'same', observedWith('other'), 'unowned', {
      ...nodesOnly,
      keptBefore: false,
      marksIn: 'labels',
    });
    expect(reasonOf(begin)).toContain('would lose all its nodes');
    expect(summaryOf(diffUpstream(empty, 'same', observedWith('other'), 'unowned', nodesOnly))).toBe(
      'updateNodes',
    );
  });

  it('does not change an upstream with gateway discovery with manage Nodes', () => {
    const discovery = { by: 'Kubernetes', fields: ['discovery_type', 'service_name'] } as const;
    const change = diffUpstream(
      { upstream, action: 'write' },
      'same',
      { ...observedWith('other'), discovery },
      'unowned',
      nodesOnly,
    );
    expect(summaryOf(change)).toBe('blocked, UsesDiscovery');
    expect(reasonOf(change)).toContain('(discovery_type, service_name)');
  });
});

describe('an unowned upstream', () => {
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
      { ...observedWith(JSON.stringify(fields)), ...more },
      ownership,
      adopting,
    );

  it.each<[string, object]>([
    ['only nodes', { nodes: [] }],
    ['fields that the spec sets, whatever their values', { nodes: [], retries: 5, timeout: { connect: 9 } }],
    ['labels that the spec sets', { labels: { a: '2' }, nodes: [] }],
  ])('is taken over with %s', (_, fields) => {
    expect(summaryOf(adopt(fields))).toBe('update, unowned');
  });

  it.each<[string, object, string]>([
    ['a field', { nodes: [], name: 'x', checks: {} }, 'checks, name'],
    ['a part of a field', { nodes: [], timeout: { connect: 1, idle: 1 } }, 'timeout.idle'],
    ['a label', { nodes: [], labels: { a: '1', team: 'x' } }, 'labels.team'],
  ])('is not taken over with %s that the spec does not set', (_, fields, names) => {
    expect(reasonOf(adopt(fields))).toContain(`has fields that the spec does not set (${names}): `);
  });

  it('is taken over from discovery in Kubernetes or a registry, but not from other discovery', () => {
    const fields = { service_name: 'shop/web:http', discovery_type: 'kubernetes' };
    const names = ['discovery_type', 'service_name'];
    for (const by of ['Kubernetes', 'Registry'] as const) {
      expect(summaryOf(adopt(fields, { discovery: { by, fields: names } }))).toBe('update, unowned');
    }
    expect(reasonOf(adopt(fields, { discovery: { by: 'other', fields: names } }))).toContain(
      'discovery_type, service_name',
    );
  });

  it('is not taken over if it would lose all nodes or the spec does not request it', () => {
    expect(reasonOf(adopt({ nodes: [] }, {}, 'unowned', []))).toContain('would lose all its nodes');
    expect(summaryOf(adopt({ nodes: [] }, {}, 'foreign'))).toBe('blocked, NotOwned');
    const never = diffUpstream({ upstream, action: 'write' }, desired, observedWith('{}'), 'unowned', whole);
    expect(reasonOf(never)).toContain('take it over with adoptionPolicy IfUnowned');
  });
});
