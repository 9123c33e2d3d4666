import type { UpstreamNode } from '../model/upstream.ts';
import { isObject, type JsonObject } from '../runtime/json.ts';
import type { Change } from './change.ts';
import { compareNodes } from './nodes.ts';
import { placeOf } from './removal-guard.ts';

/** One node that a write would add, remove or change. */
export type NodeChange =
  | { readonly kind: 'add' | 'remove'; readonly node: UpstreamNode }
  | { readonly kind: 'change'; readonly before: UpstreamNode; readonly node: UpstreamNode };

/** One other field of the upstream that a write would change; `before` or `after` is undefined if absent there. */
export interface FieldChange {
  readonly field: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** The fields of a node that may change while it stays. */
const NODE_FIELDS = ['weight', 'priority', 'backendMark'] as const;

/** The node changes from `before` to `after`, in node order. */
export function nodeChanges(
  before: readonly UpstreamNode[],
  after: readonly UpstreamNode[],
): readonly NodeChange[] {
  const known = new Map(before.map((node) => [placeOf(node), node]));
  const wanted = new Set(after.map(placeOf));
  const changes: NodeChange[] = before
    .filter((node) => !wanted.has(placeOf(node)))
    .map((node) => ({ kind: 'remove', node }));
  for (const node of after) {
    const was = known.get(placeOf(node));
    if (was === undefined) changes.push({ kind: 'add', node });
    else if (NODE_FIELDS.some((field) => was[field] !== node[field])) {
      changes.push({ kind: 'change', before: was, node });
    }
  }
  return changes.sort((a, b) => compareNodes(a.node, b.node));
}

/** The fields except nodes in which two canonical forms (JSON objects) of one driver differ, sorted by name. */
export function fieldChanges(before: string | undefined, after: string): readonly FieldChange[] {
  const old = objectOf(before);
  const next = objectOf(after);
  return [...new Set([...Object.keys(old), ...Object.keys(next)])]
    .filter((field) => field !== 'nodes' && JSON.stringify(old[field]) !== JSON.stringify(next[field]))
    .sort()
    .map((field) => ({ field, before: old[field], after: next[field] }));
}

/**
 * The paths (e.g. `labels.team`) that are in the canonical form `contained` but not in `stated`, except nodes, sorted. A list
 * counts as one value.
 */
export function unstatedFields(contained: string, stated: string): readonly string[] {
  return pathsIn(contained, stated, (_, other) => other === undefined);
}

/** The paths that both canonical forms have with different values; otherwise like `unstatedFields`. */
export function statedOtherwise(contained: string, stated: string): readonly string[] {
  return pathsIn(
    contained,
    stated,
    (content, other) => other !== undefined && JSON.stringify(content) !== JSON.stringify(other),
  );
}

/** The paths of `contained` for which `isMeant` returns true, given the values in `contained` and `other`. */
function pathsIn(
  contained: string,
  other: string,
  isMeant: (content: unknown, other: unknown) => boolean,
): readonly string[] {
  const walk = (content: JsonObject, against: JsonObject, prefix: string): string[] =>
    Object.entries(content).flatMap(([name, part]) => {
      const path = `${prefix}${name}`;
      const counterpart = Object.hasOwn(against, name) ? against[name] : undefined;
      if (isObject(part) && isObject(counterpart)) return walk(part, counterpart, `${path}.`);
      return isMeant(part, counterpart) ? [path] : [];
    });
  const { nodes: _nodes, ...fields } = objectOf(contained);
  return walk(fields, objectOf(other), '').sort();
}

/** The nodes of a canonical form as comparable text. */
export function nodesIn(canonical: string): string {
  return JSON.stringify(objectOf(canonical)['nodes'] ?? null);
}

/** The canonical form `contained` with the nodes of `other`. */
export function withNodesOf(other: string, contained: string): string {
  return JSON.stringify({ ...objectOf(contained), nodes: objectOf(other)['nodes'] });
}

/** A planned change as human-readable lines. */
export interface PlannedChange {
  readonly action: 'None' | 'Create' | 'Update';
  readonly changes: readonly string[];
  /** The number of changes beyond these. */
  readonly more: number;
}

/** `change` in at most `limit` lines with the signs `+`, `-` and `~`. Field values are omitted. */
export function describeChange(change: Change, canonical: string, limit: number): PlannedChange {
  if (change.kind === 'none' || change.kind === 'blocked') return { action: 'None', changes: [], more: 0 };
  const observed = change.kind === 'create' ? undefined : change.observed;
  const lines = [
    ...nodeChanges(observed?.nodes ?? [], change.desired.nodes).map(nodeLine),
    ...fieldChanges(observed?.canonical, canonical).map(({ field, before, after }) => {
      if (before === undefined) return `+ ${field}`;
      return after === undefined ? `- ${field}` : `~ ${field}`;
    }),
  ];
  return {
    action: observed === undefined ? 'Create' : 'Update',
    changes: lines.slice(0, limit),
    more: Math.max(0, lines.length - limit),
  };
}

/** `+ 10.0.0.1:8080 weight 1`, `- 10.0.0.1:8080`, `~ 10.0.0.1:8080 weight 1 -> 2`. */
export function nodeLine(change: NodeChange): string {
  const { node } = change;
  switch (change.kind) {
    case 'add':
      return `+ ${formatPlace(node)} weight ${node.weight}${node.priority === 0 ? '' : ` priority ${node.priority}`}`;
    case 'remove':
      return `- ${formatPlace(node)}`;
    case 'change': {
      const { before } = change;
      const parts = (['weight', 'priority'] as const)
        .filter((part) => before[part] !== node[part])
        .map((part) => `${part} ${before[part]} -> ${node[part]}`);
      if (before.backendMark !== node.backendMark) parts.push('mark of its backend');
      return `~ ${formatPlace(node)} ${parts.join(', ')}`;
    }
    default:
      return change satisfies never;
  }
}

/** `host:port`, with brackets around an IPv6 address. */
export function formatPlace({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function objectOf(canonical: string | undefined): JsonObject {
  const parsed: unknown = canonical === undefined ? {} : JSON.parse(canonical);
  return isObject(parsed) ? parsed : {};
}
