import type { GatewayUpstreamSpec } from '../../api/gateway-upstream.ts';
import { GROUP, VERSION } from '../../api/group.ts';
import type { Catalog } from '../../catalog.ts';
import { accessProblem, adoptionProblem } from '../../decide/access.ts';
import { backendTargets, type ResolvedBackend } from '../../decide/backends.ts';
import { buildUpstream } from '../../decide/build-upstream.ts';
import { type NodeChange, nodeChanges, nodeLine, statedOtherwise } from '../../decide/diff.ts';
import { fieldsInTheWay } from '../../decide/diff-upstream.ts';
import { chooseEndpoints } from '../../decide/nodes.ts';
import { isMarked } from '../../decide/ownership.ts';
import { registryDenied, registryUser } from '../../decide/registries.ts';
import { placeOf } from '../../decide/removal-guard.ts';
import type { SourceView } from '../../decide/snapshot.ts';
import { protocolOf, specOfTraffic } from '../../decide/traffic.ts';
import { greatestCommonDivisor } from '../../decide/weights.ts';
import type { RegistryService } from '../../gateways/driver.ts';
import type { Protocol } from '../../model/endpoint.ts';
import { keyOf } from '../../model/keys.ts';
import type { GatewayConnection } from '../../model/objects.ts';
import type { Reference, ServicePortRef } from '../../model/reference.ts';
import type { ObservedUpstream, UpstreamNode } from '../../model/upstream.ts';
import { objectIn } from '../../runtime/json.ts';
import { createKubernetesSource } from '../../sources/kubernetes/source.ts';
import { combineSources } from '../../sources/sources.ts';
import { conflictsOf } from './kinds.ts';
import type { GatewayListing, PlanInput } from './planned.ts';

/** A GatewayUpstream that would take over an upstream, for a person to review and apply. */
export interface TakeOver {
  readonly connection: string;
  readonly upstreamId: string;
  /** Absent if the upstream cannot be taken over. `notes` contain the reason. */
  readonly manifest?: Manifest;
  /** For people: required steps and changes. */
  readonly notes: readonly string[];
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: 'GatewayUpstream';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: object;
}

export interface TakeOverInput extends Pick<PlanInput, 'catalog' | 'stores' | 'gateways'> {
  /** Namespace of the objects. Undefined: the namespace of their Services. */
  readonly namespace: string | undefined;
  /** ServiceRegistries to use where several fit. */
  readonly registries?: readonly string[];
}

/** Namespace of the objects without a Service. */
const DEFAULT_NAMESPACE = 'default';
const MAX_NAME = 63;

/** Creates a take-over for each upstream that no GatewayUpstream uses, sorted by connection and id. Pure. */
export function takeOvers(input: TakeOverInput): readonly TakeOver[] {
  const { stores, gateways } = input;
  const conflicts = conflictsOf(stores);
  const writer = new TakeOverWriter(input);
  return [...stores.connections.list()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((connection) => {
      const listing = gateways.get(connection.name);
      if (listing?.kind !== 'listed') return [];
      return [...listing.upstreams.values()]
        .filter((observed) => {
          const isClaimed = conflicts.contenders(connection.name, observed.id).length > 0;
          return !isClaimed && !isMarked(observed);
        })
        .sort((a, b) => (a.id < b.id ? -1 : 1))
        .map((observed) => writer.write(connection, listing, observed));
    });
}

/** Where the nodes of an upstream come from. */
interface Origin {
  readonly backends: (namespace: string) => readonly object[];
  /** Namespace of the Service. */
  readonly namespace?: string;
  readonly notes: readonly string[];
}

/** Generates the GatewayUpstreams and keeps their names unique. */
class TakeOverWriter {
  readonly #input: TakeOverInput;
  readonly #source: SourceView<Reference>;
  readonly #servicesBy: Readonly<Record<Protocol, ReadonlyMap<string, readonly ServicePortRef[]>>>;
  /** `namespace/name` of existing and generated objects. */
  readonly #names: Set<string>;

  constructor(input: TakeOverInput) {
    this.#input = input;
    this.#source = combineSources({ Kubernetes: createKubernetesSource(input.stores) });
    this.#servicesBy = { TCP: this.#servicesByPlaces('TCP'), UDP: this.#servicesByPlaces('UDP') };
    this.#names = new Set([...input.stores.upstreams.list()].map(keyOf));
  }

  write(
    connection: GatewayConnection,
    { canonical, read }: Extract<GatewayListing, { kind: 'listed' }>,
    observed: ObservedUpstream,
  ): TakeOver {
    const { catalog, namespace: wanted } = this.#input;
    const { id } = observed;
    const section = connection.spec.ok ? catalog.vendor(connection.spec.value.type).section : '';
    const base = { connection: connection.name, upstreamId: id };
    const { traffic, ...discovered } = read(observed);
    const origin =
      discovered.registryService === undefined
        ? this.#originOf(observed, discovered.serviceName, protocolOf(traffic.scheme))
        : this.#registryOrigin(connection, discovered.registryService);
    if (typeof origin === 'string') return { ...base, notes: [origin] };
    const namespace = wanted ?? origin.namespace ?? DEFAULT_NAMESPACE;
    const given = {
      ...(connection.name === 'default' ? {} : { connectionRef: { name: connection.name } }),
      upstreamId: id,
      adoptionPolicy: 'IfUnowned',
      backends: origin.backends(namespace),
      ...specOfTraffic(traffic, section),
      ...(Object.keys(observed.labels).length === 0 ? {} : { labels: observed.labels }),
    };
    const { spec, fields, problem } = acceptable(catalog.schemas.gatewayUpstream, given);
    if (spec === undefined) return { ...base, notes: [problem] };
    const { upstream } = buildUpstream(spec, { id, section }, this.#resolve(spec, namespace));
    const changes = observed.discovery === undefined ? nodeChanges(observed.nodes, upstream.nodes) : [];
    return {
      ...base,
      notes: [
        ...origin.notes,
        ...differenceNotes(observed, canonical(upstream), changes),
        ...this.#accessNotes(connection, spec, namespace),
      ],
      manifest: {
        apiVersion: `${GROUP}/${VERSION}`,
        kind: 'GatewayUpstream',
        metadata: { name: this.#freeName(connection, id, namespace), namespace },
        spec: fields,
      },
    };
  }

  /** A string explains why the origin is unknown. */
  #originOf(
    observed: ObservedUpstream,
    serviceName: string | undefined,
    protocol: Protocol,
  ): Origin | string {
    if (observed.discovery !== undefined) {
      const [, namespace] = /^([^/]+)\/[^/:]+:[^:]+$/.exec(serviceName ?? '') ?? [];
      if (serviceName === undefined || namespace === undefined) {
        return `It uses service discovery (${observed.discovery.fields.join(', ')}), but not for a Service of this cluster ([namespace]/[name]:[portName]): write the GatewayUpstream by hand`;
      }
      const needsGrant = this.#input.namespace !== undefined && this.#input.namespace !== namespace;
      return {
        namespace,
        backends: () => [{ serviceName }],
        notes: needsGrant ? [grantNote(namespace)] : [],
      };
    }
    if (observed.nodes.length === 0)
      return 'It has no nodes, so its backends are unknown: write the GatewayUpstream by hand';
    const services = sameWeight(observed.nodes)
      ? (this.#servicesBy[protocol].get(placesOf(observed.nodes)) ?? [])
      : [];
    const [service, ...others] = services;
    if (service !== undefined && others.length === 0) {
      const { namespace, name, port } = service;
      return {
        namespace,
        backends: (own) => [
          { serviceRef: { name, ...(own === namespace ? {} : { namespace }), port: port.port } },
        ],
        notes:
          this.#input.namespace === undefined || this.#input.namespace === namespace
            ? []
            : [grantNote(namespace)],
      };
    }
    return {
      backends: () => [{ addresses: reduced(observed.nodes) }],
      notes: [
        service === undefined
          ? 'Its nodes do not match the endpoints of a Service, so they are written as static addresses, which are not updated'
          : `Its nodes match several Services. To use one of them, replace addresses with a serviceRef: ${services.map(({ namespace, name, port }) => `${namespace}/${name}:${port.port}`).join(', ')}`,
      ],
    };
  }

  /** A string explains why the registry is unknown. */
  #registryOrigin(connection: GatewayConnection, discovered: RegistryService): Origin | string {
    const { type, service, backend, notes } = discovered;
    const fitting = this.#registriesFor(connection, discovered);
    if (fitting.length > 1) {
      return `It uses service ${service} of a registry of type ${type}, and several ServiceRegistries fit (${fitting.join(', ')}): name one of them with --registry`;
    }
    const [name] = fitting;
    const scope = Object.entries(discovered.scope).map(([field, value]) => `${field} ${value}`);
    const kind = `a ServiceRegistry of type ${type}${scope.length === 0 ? '' : ` with ${scope.join(', ')}`}`;
    return {
      backends: () => [{ registryRef: { name: name ?? type.toLowerCase() }, service, ...backend }],
      notes: [...(name === undefined ? [`Needs ${kind}: create it, and correct registryRef`] : []), ...notes],
    };
  }

  /** The names of the ServiceRegistries that may be the one that the gateway uses, sorted. */
  #registriesFor({ spec }: GatewayConnection, { type, scope }: RegistryService): readonly string[] {
    const { catalog, stores, registries: chosen = [] } = this.#input;
    const { section } = catalog.registryTypes.find((one) => one.type === type) ?? {};
    if (section === undefined) return [];
    const fitting = [...(stores.registries?.list() ?? [])].flatMap(({ name, spec: registry }) => {
      if (!registry.ok || registry.value.type !== type) return [];
      const own = objectIn((registry.value as Readonly<Record<string, unknown>>)[section]);
      return Object.entries(scope).every(([field, value]) => own[field] === value) ? [name] : [];
    });
    const named = fitting.filter((name) => chosen.includes(name));
    const allowed = spec.ok ? (spec.value.allowedRegistries ?? []) : [];
    const preferred = fitting.filter((name) => allowed.includes(name));
    return [named, preferred].find(({ length }) => length > 0)?.sort() ?? fitting.sort();
  }

  /** All Service ports by the addresses of their current endpoints. */
  #servicesByPlaces(protocol: Protocol): ReadonlyMap<string, readonly ServicePortRef[]> {
    const found = new Map<string, ServicePortRef[]>();
    for (const { namespace, name, ports } of this.#input.stores.services.list()) {
      for (const { name: portName, port } of ports.filter((one) => one.protocol === protocol)) {
        const by = { by: 'servicePort', port: portName === '' ? port : portName } as const;
        const ref: ServicePortRef = { source: 'Kubernetes', namespace, name, port: by, protocol };
        const known = this.#source.read(ref);
        if (known.state !== 'known') continue;
        const { endpoints } = chooseEndpoints(known.endpoints, known.preferredFamily);
        const places = placesOf(endpoints);
        found.set(places, [...(found.get(places) ?? []), ref]);
      }
    }
    return found;
  }

  #resolve(spec: GatewayUpstreamSpec, namespace: string): readonly ResolvedBackend[] {
    return backendTargets(spec, namespace).map((target) =>
      target.kind === 'addresses' ? { target } : { target, found: this.#source.read(target.ref) },
    );
  }

  /** Why the GatewayConnection or the ServiceRegistry would not accept the object. */
  #accessNotes(
    connection: GatewayConnection,
    spec: GatewayUpstreamSpec,
    namespace: string,
  ): readonly string[] {
    if (!connection.spec.ok) return [];
    const { section } = this.#input.catalog.vendor(connection.spec.value.type);
    const named = { name: connection.name, spec: connection.spec.value, section };
    const { namespaces } = this.#input.stores;
    const facts = namespaces.get('', namespace) ?? { name: namespace, labels: undefined };
    const isNamespace = (name: string) => namespaces.get('', name) !== undefined;
    return [
      accessProblem(spec, facts, named, isNamespace),
      adoptionProblem(spec, named, () => false),
      ...this.#registryProblems(connection, spec, namespace),
    ].flatMap((problem) => problem?.message ?? []);
  }

  /** A ServiceRegistry that does not exist has a note already. */
  #registryProblems(connection: GatewayConnection, spec: GatewayUpstreamSpec, namespace: string) {
    const { stores } = this.#input;
    return backendTargets(spec, namespace).map((target) =>
      target.kind === 'registry' && stores.registries?.get('', target.ref.registry) !== undefined
        ? registryDenied(stores, target.ref, registryUser(namespace, connection))
        : undefined,
    );
  }

  /** An unused name that is as similar to `id` as possible. */
  #freeName({ spec }: GatewayConnection, id: string, namespace: string): string {
    const prefix = spec.ok ? spec.value.idPrefix : '';
    const own = id.startsWith(prefix) ? id.slice(prefix.length) : id;
    const preferred = own.startsWith(`${namespace}.`) ? own.slice(namespace.length + 1) : own;
    const plain = preferred
      .toLowerCase()
      .replaceAll(/[^a-z0-9-]+/g, '-')
      .slice(0, MAX_NAME - 4)
      .replaceAll(/^-+|-+$/g, '');
    const stem = plain === '' ? 'upstream' : plain;
    let name = stem;
    for (let count = 2; this.#names.has(`${namespace}/${name}`); count += 1) name = `${stem}-${count}`;
    this.#names.add(`${namespace}/${name}`);
    return name;
  }
}

/** The changes of a take-over, and the fields that prevent it. */
function differenceNotes(
  observed: ObservedUpstream,
  stated: string,
  changes: readonly NodeChange[],
): readonly string[] {
  const unstated = fieldsInTheWay(observed, stated);
  const otherwise = statedOtherwise(observed.canonical, stated);
  return [
    ...(unstated.length === 0
      ? []
      : [
          `A GatewayUpstream cannot express these fields. Remove them from the upstream before the take-over: ${unstated.join(', ')}`,
        ]),
    ...(otherwise.length === 0 ? [] : [`These fields would change: ${otherwise.join(', ')}`]),
    ...(changes.length === 0 ? [] : [`These nodes would change: ${changes.map(nodeLine).join(', ')}`]),
  ];
}

type Acceptable =
  | { readonly spec: GatewayUpstreamSpec; readonly fields: object; readonly problem?: never }
  | { readonly spec?: never; readonly fields?: never; readonly problem: string };

/** `given` without the fields that the schema rejects. `backends` and `upstreamId` must be valid. */
function acceptable(
  schema: Catalog['schemas']['gatewayUpstream'],
  given: Readonly<Record<string, unknown>>,
): Acceptable {
  const fields = { ...given };
  for (;;) {
    const { success, data, error } = schema.safeParse(fields);
    if (success) return { spec: data, fields };
    const { path, message } = error.issues[0] ?? { path: [], message: 'no reason given' };
    const [field] = path;
    if (typeof field !== 'string' || !(field in fields) || field === 'backends' || field === 'upstreamId') {
      return { problem: `It cannot be expressed as a GatewayUpstream: ${path.join('.')} ${message}` };
    }
    delete fields[field];
  }
}

function grantNote(namespace: string): string {
  return `Needs a ReferenceGrant in namespace ${namespace}`;
}

/** The sorted addresses and ports of nodes or endpoints. */
function placesOf(nodes: readonly { readonly host: string; readonly port: number }[]): string {
  return nodes.map(placeOf).sort().join('\n');
}

/** Whether all nodes have the same weight, as the endpoints of a Service do. */
function sameWeight(nodes: readonly UpstreamNode[]): boolean {
  const [first] = nodes;
  return nodes.every(({ weight, priority }) => weight > 0 && weight === first?.weight && priority === 0);
}

/** `nodes` with the smallest weights of the same proportions. */
function reduced(observed: readonly UpstreamNode[]): readonly UpstreamNode[] {
  const nodes = observed.map(({ backendMark: _mark, ...node }) => node);
  const largest = Math.max(...nodes.map(({ weight }) => weight));
  if (largest <= 100) return nodes;
  const divisor = nodes.map(({ weight }) => weight).reduce(greatestCommonDivisor);
  return nodes.map((node) => ({ ...node, weight: node.weight / divisor }));
}
