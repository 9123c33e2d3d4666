import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import type { Departed, Discovered, RemovalCause } from '../model/discovered.ts';
import type { GatewayFacts, GatewayInfo } from '../model/gateway.ts';
import type { ObjectKey } from '../model/keys.ts';
import type {
  GatewayConnection,
  GatewayUpstream,
  NamespaceStored,
  NodeStored,
  ServiceRegistry,
} from '../model/objects.ts';
import type { Reference } from '../model/reference.ts';
import type { StoreView } from '../model/store-view.ts';
import type { ObservedUpstream, UpstreamId } from '../model/upstream.ts';
import type { CertificateRules } from './certificates.ts';
import type { IdConflicts } from './id-conflicts.ts';
import type { LastAnswer } from './last-answers.ts';
import type { ReferenceRules } from './references.ts';
import type { Remembered } from './remembered.ts';

/** The upstream with one id in a gateway; `known: false` before the first complete list. */
export type GatewayContent =
  | { readonly known: true; readonly observed: ObservedUpstream | undefined }
  | { readonly known: false };

/** The part of a discovery source that decisions read; `DiscoverySource` defines its guarantees. */
export interface SourceView<Ref> {
  /** The current answer: complete, or `unknown` with the reason. */
  read(ref: Ref): Discovered;
  /** How endpoints that `ref` no longer lists were removed. */
  departure(ref: Ref, removedEndpoints: Departed): RemovalCause;
  /** The addresses among `addresses` that other references than `refs` list now. */
  listedElsewhere(refs: readonly Ref[], addresses: ReadonlySet<string>): ReadonlySet<string>;
}

/** The read-only input of all decisions. `plan` and `run` share it, so they cannot differ. */
export interface Snapshot extends ReferenceRules, CertificateRules {
  readonly clusterId: string;
  /** With the index `mark`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connections: StoreView<GatewayConnection>;
  readonly namespaces: StoreView<NamespaceStored>;
  readonly source: SourceView<Reference>;
  /** Absent if no registry type is built in. */
  readonly registries?: StoreView<ServiceRegistry>;
  /** Absent if the operator does not watch Nodes. */
  readonly nodes?: StoreView<NodeStored>;
  readonly conflicts: IdConflicts;
  readonly contentOf: (connection: string, id: UpstreamId) => GatewayContent;
  /** By `spec.type` of a GatewayConnection. */
  readonly vendorOf: (type: GatewayConnectionSpec['type']) => GatewayFacts;
  /** The last complete answers for the backends of an object; absent if none are kept. */
  readonly lastAnswers?: (key: ObjectKey) => readonly LastAnswer[];
  /** The facts that the gateway of a connection reports about itself. */
  readonly gatewayInfo: (connection: GatewayConnection) => GatewayInfo;
  /** The removal guard's state; undefined before the first reconcile in this process. */
  readonly recall: (key: ObjectKey) => Remembered | undefined;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
}
