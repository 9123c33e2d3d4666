import type { GatewayConnectionSpec, GatewayConnectionStatus } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { GatewayUpstreamSetSpec, GatewayUpstreamSetStatus } from '../api/gateway-upstream-set.ts';
import type { GatewayUpstreamStatus } from '../api/gateway-upstream-status.ts';
import type { ServiceRegistrySpec, ServiceRegistryStatus } from '../api/service-registry.ts';
import type { ClusterNode } from './endpoint.ts';
import type { KeyPair } from './key-pair.ts';
import type { Stored } from './store-view.ts';

/** A spec that the API server let pass; `ok: false` where its CRD is of another version than the program. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false;
      readonly message: string;
      /** It has overrides of a vendor's section that are not valid. */
      readonly hasInvalidOverrides?: true;
    };

/** One object of our own kinds. */
export interface CustomObject<Spec, Status> extends Stored {
  readonly generation: number;
  /** RFC 3339. */
  readonly creationTimestamp: string;
  readonly deletionTimestamp: string | undefined;
  readonly finalizers: readonly string[];
  readonly spec: Parsed<Spec>;
  readonly status: Status | undefined;
}

export interface GatewayUpstream extends CustomObject<GatewayUpstreamSpec, GatewayUpstreamStatus> {
  /** Known even where the spec is not valid. */
  readonly connection: string;
  /** What the annotation `accept-removal` says. */
  readonly acceptRemoval: string | undefined;
  /** Undefined for one that no set made. */
  readonly madeBy: MadeBySet | undefined;
}

/** What a GatewayUpstream says of the set that made it. */
export interface MadeBySet {
  /** Name of the GatewayUpstreamSet. */
  readonly set: string;
  /** Of the GatewayUpstreamSet; undefined where the label alone names it. */
  readonly uid: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface GatewayUpstreamSet extends CustomObject<GatewayUpstreamSetSpec, GatewayUpstreamSetStatus> {
  /** What the annotation `accept-prune` says. */
  readonly acceptPrune: string | undefined;
}

export type GatewayConnection = CustomObject<GatewayConnectionSpec, GatewayConnectionStatus>;

export type ServiceRegistry = CustomObject<ServiceRegistrySpec, ServiceRegistryStatus>;

/** What is kept of a Secret in the operator's own namespace. */
export interface SecretFacts extends Stored {
  /** Decoded. */
  readonly data: Readonly<Record<string, string>>;
}

/** What is kept of a Secret that a GatewayUpstream may refer to. */
export interface CertificateSecret extends Stored {
  /** `message` ends the sentence that begins with the Secret's name. */
  readonly pair: Parsed<KeyPair>;
}

export interface NamespaceStored extends Stored {
  readonly labels: Readonly<Record<string, string>>;
  readonly terminating: boolean;
}

export interface NodeStored extends Stored, ClusterNode {}

/** A ReferenceGrant of the Gateway API: who may refer to what in its own namespace. */
export interface ReferenceGrant {
  readonly from: readonly { readonly group: string; readonly kind: string; readonly namespace: string }[];
  /** Without a name: every one of that kind. */
  readonly to: readonly { readonly group: string; readonly kind: string; readonly name?: string }[];
}

export interface ReferenceGrantStored extends Stored, ReferenceGrant {
  /** Why nothing is known of what it permits; absent for one that was read. */
  readonly unreadable?: string;
}
