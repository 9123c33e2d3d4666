import type { Model, Upstream } from './model.ts';
import type { Place } from './places.ts';
import { placeKey } from './registered.ts';

/** The content of one upstream in the gateway. */
export type GatewayContent = Readonly<Record<string, unknown>>;

interface Node extends Place {
  readonly weight: number;
}

interface Placed {
  readonly weight: number;
  readonly places: readonly Place[];
}

export interface ComparisonOptions {
  /** Accept nodes that the removal guard may keep. */
  readonly allowGuarded: boolean;
}

/** The difference between the gateway's content and the model for this upstream; undefined if there is none. */
export function problemOf(
  model: Model,
  upstream: Upstream,
  content: GatewayContent | undefined,
  options: ComparisonOptions,
): string | undefined {
  if (upstream.syncPolicy === 'Observe') return undefined;
  const secret = model.secretOf(upstream);
  // Without a usable Secret, the operator does not write, so the content may be anything.
  if (secret !== undefined && secret.certificate === undefined) return undefined;
  const found = upstream.backends.map((backend) => model.placesOf(upstream.namespace, backend));
  if (content === undefined) {
    const isAbsent = upstream.manage === 'Nodes' || found.every((places) => places === undefined);
    return isAbsent ? undefined : 'is missing';
  }
  if (upstream.manage === 'Nodes') {
    if (isUntouched(model, upstream)) return undefined;
  } else if (content['retries'] !== upstream.retries) {
    return `has retries ${String(content['retries'])} instead of ${upstream.retries}`;
  }
  if (certificateIn(content) !== secret?.certificate) return 'has a different certificate';
  const backends = upstream.backends.map(({ weight }, index) => ({ weight, places: found[index] ?? [] }));
  const nodes = content['nodes'] as readonly Node[];
  return problemOfNodes(backends, nodes, upstream.guarded && options.allowGuarded);
}

/** Whether an upstream with `manage: Nodes` may still have its owner's nodes, because the operator has not written any. */
export function isUntouched(model: Model, { manage, begun, namespace, backends }: Upstream): boolean {
  const wanted = backends.flatMap((backend) =>
    backend.weight > 0 ? (model.placesOf(namespace, backend) ?? []) : [],
  );
  return manage === 'Nodes' && !begun && wanted.length === 0;
}

/** The kinds of comparison that this upstream allows, for the summary. */
export function comparedOf(model: Model, upstream: Upstream): readonly string[] {
  const { namespace, syncPolicy, manage, isMember, backends } = upstream;
  if (syncPolicy === 'Observe') return ['not compared: syncPolicy Observe'];
  const secret = model.secretOf(upstream);
  if (secret !== undefined && secret.certificate === undefined) return ['not compared: Secret not usable'];
  const modes = backends.flatMap((backend) => {
    const { mode = model.addressing } = backend;
    const places = model.placesOf(namespace, backend);
    if (mode === 'Registry') return [placesOfRegistry(places)];
    if (places === undefined) return [`unresolved backend, mode ${mode}`];
    const isLocal = mode === 'Node' && model.service(namespace, backend.service)?.front.isLocal;
    const by = `mode ${mode}${isLocal === true ? ', Local' : ''}`;
    return places.length === 0 ? [`no ready endpoint, ${by}`] : [`nodes, ${by}`];
  });
  return [
    ...new Set(modes),
    ...(manage === 'Nodes' ? ['manage: Nodes'] : []),
    ...(isMember ? ['member of the set'] : []),
    ...(secret === undefined ? [] : ['certificate']),
  ];
}

function placesOfRegistry(places: readonly Place[] | undefined): string {
  if (places === undefined) return 'registry without instances';
  return places.length === 0 ? 'no passing instance in the registry' : 'nodes, registry';
}

export function certificateIn({ tls }: GatewayContent): string | undefined {
  return (tls as { readonly client_cert?: string } | undefined)?.client_cert;
}

/** All fields of an upstream except its nodes, as JSON; undefined if the upstream does not exist. */
export function ownersFields(content: GatewayContent | undefined): string | undefined {
  if (content === undefined) return undefined;
  const { nodes: _nodes, update_time: _time, ...fields } = content;
  return JSON.stringify(fields);
}

/** Whether the label of an upstream retains it after its object is deleted. */
export function isRetained(content: GatewayContent | undefined): boolean {
  const labels = (content?.['labels'] ?? {}) as Readonly<Record<string, string>>;
  return labels['gatewayupstream.dev/deletion-policy'] === 'Orphan';
}

function problemOfNodes(
  backends: readonly Placed[],
  nodes: readonly Node[],
  allowGuarded: boolean,
): string | undefined {
  const wanted = new Set(backends.flatMap(({ weight, places }) => (weight > 0 ? places.map(placeKey) : [])));
  const present = new Set(nodes.map(placeKey));
  const missing = [...wanted].filter((key) => !present.has(key));
  if (missing.length > 0) return `lacks ${missing.join(', ')}`;
  const extra = [...present].filter((key) => !wanted.has(key));
  if (extra.length > 0 && !allowGuarded) return `still has ${extra.join(', ')}`;
  if (present.size !== nodes.length) return 'has a duplicate node';
  return extra.length > 0 ? undefined : wrongShare(backends, nodes);
}

/**
 * Each backend's share of the sum must equal its share of the weights within 1 %, divided among its places by their weight. A
 * place of several backends gets the sum of their shares. With one backend of a Service, all nodes have weight 1.
 */
function wrongShare(backends: readonly Placed[], nodes: readonly Node[]): string | undefined {
  const isWeighted = backends.some(({ places }) => places.some(({ weight }) => weight !== undefined));
  if (backends.length === 1 && !isWeighted) {
    return nodes.every(({ weight }) => weight === 1) ? undefined : 'has nodes with a weight other than 1';
  }
  const active = backends.filter(({ weight, places }) => weight > 0 && places.length > 0);
  const weights = active.reduce((total, { weight }) => total + weight, 0);
  const shares = new Map<string, number>();
  for (const { weight, places } of active) {
    const all = places.reduce((total, { weight: own = 1 }) => total + own, 0);
    for (const { weight: own = 1, ...place } of places) {
      const key = placeKey(place);
      shares.set(key, (shares.get(key) ?? 0) + ((weight / weights) * own) / all);
    }
  }
  const sum = nodes.reduce((total, { weight }) => total + weight, 0);
  for (const node of nodes) {
    const ratio = node.weight / sum / (shares.get(placeKey(node)) ?? 0);
    if (Math.abs(ratio - 1) > 0.01 + 1e-9) return `gives ${placeKey(node)} ${ratio} times its share`;
  }
  return undefined;
}
