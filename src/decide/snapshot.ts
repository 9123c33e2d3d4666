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

/** What a gateway is known to hold as one id; `known: false` while it was not listed. */
export type GatewayContent =
  | { readonly known: true; readonly observed: ObservedUpstream | undefined }
  | { readonly known: false };

/** What decisions read of a discovery source; see `DiscoverySource` for what it promises. */
export interface SourceView<Ref> {
  /** What is known now: complete, or `unknown` with the reason. */
  read(ref: Ref): Discovered;
  /** How what `ref` does not list went. */
  departure(ref: Ref, removedEndpoints: Departed): RemovalCause;
  /** Those of `addresses` that anything but `refs` lists now. */
  listedElsewhere(refs: readonly Ref[], addresses: ReadonlySet<string>): ReadonlySet<string>;
}

/** Everything that decides what becomes of an object. Only looked at, so that `plan` and `run` cannot differ. */
export interface Snapshot extends ReferenceRules, CertificateRules {
  readonly clusterId: string;
  /** With the index `mark`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connections: StoreView<GatewayConnection>;
  readonly namespaces: StoreView<NamespaceStored>;
  readonly source: SourceView<Reference>;
  /** Absent: no type of registry is built in. */
  readonly registries?: StoreView<ServiceRegistry>;
  /** Absent: nobody watches them. */
  readonly nodes?: StoreView<NodeStored>;
  readonly conflicts: IdConflicts;
  readonly contentOf: (connection: string, id: UpstreamId) => GatewayContent;
  /** By `spec.type` of a GatewayConnection. */
  readonly vendorOf: (type: GatewayConnectionSpec['type']) => GatewayFacts;
  /** The last complete answers about the backends of an object; absent: none are kept. */
  readonly lastAnswers?: (key: ObjectKey) => readonly LastAnswer[];
  /** What is known of the gateway of a connection. */
  readonly gatewayInfo: (connection: GatewayConnection) => GatewayInfo;
  /** What earlier looks left behind; undefined where this program has not looked before. */
  readonly recall: (key: ObjectKey) => Remembered | undefined;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
}
