import type { GatewayConnectionSpec, GatewayConnectionStatus } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { GatewayUpstreamSetSpec, GatewayUpstreamSetStatus } from '../api/gateway-upstream-set.ts';
import type { GatewayUpstreamStatus } from '../api/gateway-upstream-status.ts';
import type { ServiceRegistrySpec, ServiceRegistryStatus } from '../api/service-registry.ts';
import type { ClusterNode } from './endpoint.ts';
import type { KeyPair } from './key-pair.ts';
import type { Stored } from './store-view.ts';

/** A parsed spec. `ok: false` for an invalid one, which the API server accepts if its CRD has another version than the program. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false;
      readonly message: string;
      /** The invalid part includes `overrides` of a vendor section. */
      readonly hasInvalidOverrides?: true;
    };

/** An object of a kind of this API group. */
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
  /** Known even if the spec is not valid. */
  readonly connection: string;
  /** Value of the annotation `accept-removal`. */
  readonly acceptRemoval: string | undefined;
  /** Undefined if no set created it. */
  readonly madeBy: MadeBySet | undefined;
}

/** How a GatewayUpstream refers to the set that created it. */
export interface MadeBySet {
  /** Name of the GatewayUpstreamSet. */
  readonly set: string;
  /** UID of the GatewayUpstreamSet; undefined if only the label refers to it. */
  readonly uid: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface GatewayUpstreamSet extends CustomObject<GatewayUpstreamSetSpec, GatewayUpstreamSetStatus> {
  /** Value of the annotation `accept-prune`. */
  readonly acceptPrune: string | undefined;
}

export type GatewayConnection = CustomObject<GatewayConnectionSpec, GatewayConnectionStatus>;

export type ServiceRegistry = CustomObject<ServiceRegistrySpec, ServiceRegistryStatus>;

/** The stored form of a Secret in the operator's namespace. */
export interface SecretFacts extends Stored {
  /** Decoded. */
  readonly data: Readonly<Record<string, string>>;
}

/** The stored form of a Secret that a GatewayUpstream may refer to. */
export interface CertificateSecret extends Stored {
  /** `message` is a predicate: the name of the Secret is its subject. */
  readonly pair: Parsed<KeyPair>;
}

export interface NamespaceStored extends Stored {
  readonly labels: Readonly<Record<string, string>>;
  readonly terminating: boolean;
}

export interface NodeStored extends Stored, ClusterNode {}

/** A ReferenceGrant of the Gateway API: permits references from other namespaces to objects in its own namespace. */
export interface ReferenceGrant {
  readonly from: readonly { readonly group: string; readonly kind: string; readonly namespace: string }[];
  /** Without a name: all objects of that kind. */
  readonly to: readonly { readonly group: string; readonly kind: string; readonly name?: string }[];
}

export interface ReferenceGrantStored extends Stored, ReferenceGrant {
  /** Why it could not be read; absent if it was read. */
  readonly unreadable?: string;
}
