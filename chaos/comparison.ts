import type { Model, Upstream } from './model.ts';
import type { Place } from './places.ts';

/** What a gateway holds as one id. */
export type Held = Readonly<Record<string, unknown>>;

interface Node extends Place {
  readonly weight: number;
}

interface Placed {
  readonly weight: number;
  readonly places: readonly Place[];
}

export interface ComparisonOptions {
  /** Nodes that a removal guard may hold count as right. */
  readonly mayHold: boolean;
}

/** What is wrong with what the gateway holds for this upstream; undefined if nothing is. */
export function problemOf(
  model: Model,
  upstream: Upstream,
  held: Held | undefined,
  options: ComparisonOptions,
): string | undefined {
  if (upstream.syncPolicy === 'Observe') return undefined;
  const secret = model.secretOf(upstream);
  // The gateway keeps what it has, as it was when the Secret was last of use or as somebody wrote it since.
  if (secret !== undefined && secret.certificate === undefined) return undefined;
  const found = upstream.backends.map((backend) => model.placesOf(upstream.namespace, backend));
  if (held === undefined) {
    const isAbsent = upstream.manage === 'Nodes' || found.every((places) => places === undefined);
    return isAbsent ? undefined : 'is missing';
  }
  if (upstream.manage === 'Nodes') {
    if (isUntouched(model, upstream)) return undefined;
  } else if (held['retries'] !== upstream.retries) {
    return `has ${String(held['retries'])} retries instead of ${upstream.retries}`;
  }
  if (certificateIn(held) !== secret?.certificate) return 'shows another certificate';
  const backends = upstream.backends.map(({ weight }, index) => ({ weight, places: found[index] ?? [] }));
  const nodes = held['nodes'] as readonly Node[];
  return problemOfNodes(backends, nodes, upstream.guarded && options.mayHold);
}

/** Whether the nodes of somebody else's upstream may still be what its owner wrote, since there never were any others. */
export function isUntouched(model: Model, { manage, begun, namespace, backends }: Upstream): boolean {
  const wanted = backends.flatMap((backend) =>
    backend.weight > 0 ? (model.placesOf(namespace, backend) ?? []) : [],
  );
  return manage === 'Nodes' && !begun && wanted.length === 0;
}

/** What a comparison of this upstream shows, in words to be counted. */
export function comparedOf(model: Model, upstream: Upstream): readonly string[] {
  const { namespace, syncPolicy, manage, isMember, backends } = upstream;
  if (syncPolicy === 'Observe') return ['nothing, since it is observed'];
  const secret = model.secretOf(upstream);
  if (secret !== undefined && secret.certificate === undefined)
    return ['nothing, since its Secret is of no use'];
  const modes = backends.flatMap((backend) => {
    const { mode = model.addressing } = backend;
    const places = model.placesOf(namespace, backend);
    if (places === undefined) return [`nowhere to go by mode ${mode}`];
    const isLocal = mode === 'Node' && model.service(namespace, backend.service)?.front.isLocal;
    const by = `by mode ${mode}${isLocal === true ? ', nodes with endpoints' : ''}`;
    return places.length === 0 ? [`nothing ready ${by}`] : [`nodes ${by}`];
  });
  return [
    ...new Set(modes),
    ...(manage === 'Nodes' ? ['nodes alone'] : []),
    ...(isMember ? ['object of the set'] : []),
    ...(secret === undefined ? [] : ['certificate']),
  ];
}

export function certificateIn({ tls }: Held): string | undefined {
  return (tls as { readonly client_cert?: string } | undefined)?.client_cert;
}

/** Everything of an upstream that is its owner's where nodes alone are ours, as text; undefined: it is not there. */
export function ownersFields(held: Held | undefined): string | undefined {
  if (held === undefined) return undefined;
  const { nodes: _nodes, update_time: _time, ...fields } = held;
  return JSON.stringify(fields);
}

/** Whether an upstream says of itself that it stays when its object goes. */
export function staysBehind(held: Held | undefined): boolean {
  const labels = (held?.['labels'] ?? {}) as Readonly<Record<string, string>>;
  return labels['gatewayupstream.dev/deletion-policy'] === 'Orphan';
}

function problemOfNodes(
  backends: readonly Placed[],
  nodes: readonly Node[],
  mayHold: boolean,
): string | undefined {
  const wanted = new Set(backends.flatMap(({ weight, places }) => (weight > 0 ? places.map(keyOf) : [])));
  const present = new Set(nodes.map(keyOf));
  const missing = [...wanted].filter((key) => !present.has(key));
  if (missing.length > 0) return `lacks ${missing.join(', ')}`;
  const extra = [...present].filter((key) => !wanted.has(key));
  if (extra.length > 0 && !mayHold) return `still has ${extra.join(', ')}`;
  if (present.size !== nodes.length) return 'has one node twice';
  return extra.length > 0 ? undefined : wrongShare(backends, nodes);
}

function keyOf({ host, port }: Place): string {
  return `${host}:${port}`;
}

/**
 * Each backend's part of the sum is its part of the weights, in equal parts for its places, within 1 %; a place of
 * several backends has the sum of what they give it. The nodes of a single one weigh 1.
 */
function wrongShare(backends: readonly Placed[], nodes: readonly Node[]): string | undefined {
  if (backends.length === 1) {
    return nodes.every(({ weight }) => weight === 1) ? undefined : 'has nodes that do not weigh 1';
  }
  const active = backends.filter(({ weight, places }) => weight > 0 && places.length > 0);
  const weights = active.reduce((total, { weight }) => total + weight, 0);
  const shares = new Map<string, number>();
  for (const { weight, places } of active) {
    for (const key of places.map(keyOf)) {
      shares.set(key, (shares.get(key) ?? 0) + weight / weights / places.length);
    }
  }
  const sum = nodes.reduce((total, { weight }) => total + weight, 0);
  for (const node of nodes) {
    const ratio = node.weight / sum / (shares.get(keyOf(node)) ?? 0);
    if (Math.abs(ratio - 1) > 0.01 + 1e-9) return `gives ${keyOf(node)} ${ratio} of its share`;
  }
  return undefined;
}
