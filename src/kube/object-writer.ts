import { GATEWAY_CONNECTION, GATEWAY_UPSTREAM, GATEWAY_UPSTREAM_SET, SERVICE_REGISTRY } from '../api/crd.ts';
import { GROUP, OPERATOR, VERSION } from '../api/group.ts';
import type { CustomObject } from '../model/objects.ts';
import type { Stored } from '../model/store-view.ts';
import { KubeApiError } from './kube-error.ts';
import { MAX_CUSTOM_VALUES } from './large-object.ts';
import { type KubeTransport, resourcePath } from './transport.ts';

export type CustomKind = 'GatewayUpstream' | 'GatewayConnection' | 'GatewayUpstreamSet' | 'ServiceRegistry';

/** Writes finalizers and status of the operator's custom resources. Rejects with `KubeApiError`. */
export interface ObjectWriter {
  /** Resolves to false if the object is deleted, is being deleted, or was replaced by another one with its name. */
  addFinalizer(kind: CustomKind, object: Finalized, finalizer: string, signal: AbortSignal): Promise<boolean>;
  /** Also resolves if the object does not exist. */
  removeFinalizer(kind: CustomKind, object: Finalized, finalizer: string, signal: AbortSignal): Promise<void>;
  /** Replaces all status fields that the operator has written. Also resolves if the object does not exist. */
  applyStatus(kind: CustomKind, object: Stored, status: object, signal: AbortSignal): Promise<void>;
}

/** An object as last read, with its finalizers. */
export type Finalized = Stored & Pick<CustomObject<unknown, unknown>, 'finalizers' | 'deletionTimestamp'>;

const PLURAL = {
  GatewayUpstream: GATEWAY_UPSTREAM.plural,
  GatewayConnection: GATEWAY_CONNECTION.plural,
  GatewayUpstreamSet: GATEWAY_UPSTREAM_SET.plural,
  ServiceRegistry: SERVICE_REGISTRY.plural,
} as const satisfies Record<CustomKind, string>;

/** Maximum number of retries after another client has changed the object in the meantime. */
const MAX_CONFLICTS = 5;

interface Metadata {
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly deletionTimestamp?: string | undefined;
  readonly finalizers?: readonly string[];
}

/** Returns the new finalizers of an object, or undefined to leave them unchanged. */
type FinalizerChange = (metadata: Metadata) => readonly string[] | undefined;

export function createObjectWriter(transport: KubeTransport): ObjectWriter {
  return new PatchWriter(transport);
}

class PatchWriter implements ObjectWriter {
  readonly #transport: KubeTransport;

  constructor(transport: KubeTransport) {
    this.#transport = transport;
  }

  async addFinalizer(
    kind: CustomKind,
    object: Finalized,
    finalizer: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    let isBeingDeleted = false;
    const change: FinalizerChange = ({ finalizers = [], deletionTimestamp }) => {
      isBeingDeleted = deletionTimestamp !== undefined;
      return isBeingDeleted || finalizers.includes(finalizer) ? undefined : [...finalizers, finalizer];
    };
    const exists = await this.#changeFinalizers(kind, object, change, signal);
    return exists && !isBeingDeleted;
  }

  async removeFinalizer(
    kind: CustomKind,
    object: Finalized,
    finalizer: string,
    signal: AbortSignal,
  ): Promise<void> {
    const change: FinalizerChange = ({ finalizers = [] }) =>
      finalizers.includes(finalizer) ? finalizers.filter((one) => one !== finalizer) : undefined;
    await this.#changeFinalizers(kind, object, change, signal);
  }

  async applyStatus(kind: CustomKind, object: Stored, status: object, signal: AbortSignal): Promise<void> {
    const { name, namespace, uid } = object;
    try {
      await this.#transport.send({
        method: 'PATCH',
        path: pathOf(kind, object, 'status'),
        query: { fieldManager: OPERATOR, force: 'true' },
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: `${GROUP}/${VERSION}`,
          kind,
          metadata: { name, uid, ...(namespace === '' ? {} : { namespace }) },
          status,
        },
        signal,
        ignoreAnswer: true,
      });
    } catch (error) {
      // 409: the uid differs, because the object was deleted and created again.
      if (error instanceof KubeApiError && (error.status === 404 || error.status === 409)) return;
      throw error;
    }
  }

  /**
   * Changes the finalizers of the object as last read. After a conflict it reads the object and tries again. Resolves to
   * false if the object does not exist.
   */
  async #changeFinalizers(
    kind: CustomKind,
    object: Finalized,
    change: FinalizerChange,
    signal: AbortSignal,
  ): Promise<boolean> {
    const path = pathOf(kind, object);
    for (let conflicts = 0; ; conflicts += 1) {
      try {
        // Without a resourceVersion the API server would not detect a conflict.
        const isUsable = conflicts === 0 && object.resourceVersion !== '';
        const metadata: Metadata = isUsable ? object : await this.#read(path, signal);
        if (metadata.uid !== object.uid) return false;
        const finalizers = change(metadata);
        if (finalizers !== undefined) await this.#write(path, metadata, finalizers, signal);
        return true;
      } catch (error) {
        if (!(error instanceof KubeApiError)) throw error;
        if (error.status === 404) return false;
        if (error.status !== 409 || conflicts >= MAX_CONFLICTS) throw error;
      }
    }
  }

  async #read(path: string, signal: AbortSignal): Promise<Metadata> {
    return (
      (await this.#transport.get(path, { signal, maxValues: MAX_CUSTOM_VALUES })) as {
        readonly metadata: Metadata;
      }
    ).metadata;
  }

  async #write(
    path: string,
    { uid, resourceVersion }: Metadata,
    finalizers: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    await this.#transport.send({
      method: 'PATCH',
      path,
      query: { fieldManager: OPERATOR },
      contentType: 'application/merge-patch+json',
      // With a resourceVersion the API server rejects the patch (409) if the object has changed.
      body: { metadata: { uid, resourceVersion, finalizers } },
      signal,
      ignoreAnswer: true,
    });
  }
}

function pathOf(kind: CustomKind, { namespace, name }: Stored, subresource?: string): string {
  return resourcePath({
    group: GROUP,
    version: VERSION,
    plural: PLURAL[kind],
    name,
    ...(namespace === '' ? {} : { namespace }),
    ...(subresource === undefined ? {} : { subresource }),
  });
}
