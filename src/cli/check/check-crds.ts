import { type CustomResource, customResourceDefinition } from '../../api/crd.ts';
import { GROUP, VERSION } from '../../api/group.ts';
import type { Catalog } from '../../catalog.ts';
import type { KubeTransport } from '../../kube/transport.ts';
import type { Clock } from '../../runtime/clock.ts';
import { type SchemaAge, schemaAge } from './crd-age.ts';
import { type Finding, failed, fine, kubeError } from './finding.ts';

export interface CheckCrdsDeps {
  readonly transport: KubeTransport;
  readonly catalog: Catalog;
  readonly clock: Clock;
}

const CRDS_REMEDY = 'run gateway-upstream-operator install --crds-only';
const DISCOVERY_REMEDY = 'bind ClusterRole system:discovery to this user, then run check again';
/** The API server publishes the schema of a new CRD a moment after it serves its objects. */
const PUBLISHED_WITHIN_MS = 10_000;
const POLL_MS = 250;

interface OpenApi {
  readonly components?: {
    readonly schemas?: Readonly<
      Record<
        string,
        {
          readonly properties?: Readonly<Record<string, unknown>>;
          readonly 'x-kubernetes-group-version-kind'?: readonly { readonly kind?: string }[];
        }
      >
    >;
  };
}

type Schemas = NonNullable<NonNullable<OpenApi['components']>['schemas']>;
type PublishedSchema = Schemas[string];

/**
 * Compares the published OpenAPI schemas of our kinds with those of this program. Every authenticated user may read them,
 * unlike the CRDs.
 */
export async function checkCrds(deps: CheckCrdsDeps, signal: AbortSignal): Promise<readonly Finding[]> {
  const { catalog, clock } = deps;
  const deadline = clock.monotonic() + PUBLISHED_WITHIN_MS;
  try {
    for (;;) {
      const published = await publishedSchemas(deps, signal);
      const missing = catalog.customResources.filter(({ kind }) => !published.has(kind));
      const served = missing.length === 0 ? new Set() : await servedPlurals(deps, signal);
      const isLate = missing.some(({ plural }) => served.has(plural));
      if (!isLate || clock.monotonic() >= deadline) {
        return catalog.customResources.map((resource) =>
          findingOf(resource, published.get(resource.kind), served.has(resource.plural)),
        );
      }
      await clock.sleep(POLL_MS, signal);
    }
  } catch (error) {
    signal.throwIfAborted();
    return [failed('CRDs', kubeError(error).message, DISCOVERY_REMEDY)];
  }
}

/** By kind. */
async function publishedSchemas(
  { transport }: CheckCrdsDeps,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, PublishedSchema>> {
  const { components } = ((await getIfServed(transport, `/openapi/v3/apis/${GROUP}/${VERSION}`, signal)) ??
    {}) as OpenApi;
  return new Map(
    Object.values(components?.schemas ?? {}).flatMap((schema) =>
      (schema['x-kubernetes-group-version-kind'] ?? []).flatMap(({ kind }) =>
        kind === undefined ? [] : [[kind, schema] as const],
      ),
    ),
  );
}

async function servedPlurals(
  { transport }: CheckCrdsDeps,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const list = (await getIfServed(transport, `/apis/${GROUP}/${VERSION}`, signal)) as
    | { readonly resources?: readonly { readonly name: string }[] }
    | undefined;
  return new Set(list?.resources?.map(({ name }) => name));
}

/** Undefined for 404. */
async function getIfServed(transport: KubeTransport, path: string, signal: AbortSignal): Promise<unknown> {
  try {
    return await transport.get(path, { signal });
  } catch (error) {
    if (kubeError(error).status === 404) return undefined;
    throw error;
  }
}

function findingOf(
  resource: CustomResource,
  published: PublishedSchema | undefined,
  isServed: boolean,
): Finding {
  const name = `CRD ${resource.plural}.${GROUP}`;
  if (published === undefined) {
    return isServed
      ? failed(name, 'served, but its schema is not published yet', 'run check again')
      : failed(name, 'not installed', CRDS_REMEDY);
  }
  const { spec, status } = ownSchema(resource);
  return crdFinding(name, [
    schemaAge('spec', published.properties?.['spec'], spec),
    schemaAge('status', published.properties?.['status'], status),
  ]);
}

function ownSchema(resource: CustomResource): {
  readonly spec?: unknown;
  readonly status?: unknown;
} {
  const { spec } = customResourceDefinition(resource) as {
    readonly spec: {
      readonly versions: readonly {
        readonly schema: { readonly openAPIV3Schema: { readonly properties: object } };
      }[];
    };
  };
  // Removes undefined values, which the served schema cannot contain.
  return JSON.parse(JSON.stringify(spec.versions[0]?.schema.openAPIV3Schema.properties ?? {})) as object;
}

function crdFinding(name: string, ages: readonly SchemaAge[]): Finding {
  const differing = ages.filter((age) => age.kind !== 'same');
  const [first] = differing;
  if (first === undefined) return fine(name, 'matches this version of the operator');
  const fields = differing.flatMap((age) => age.fields);
  const shown = `${fields.slice(0, 5).join(', ')}${fields.length > 5 ? ' and more' : ''}`;
  const kind = differing.every((age) => age.kind === first.kind) ? first.kind : 'different';
  switch (kind) {
    case 'older':
      return failed(name, `older than this version of the operator: ${shown} missing`, CRDS_REMEDY);
    case 'newer':
      return failed(
        name,
        `newer than this version of the operator: ${shown} unknown`,
        'run the version of the operator that installed the CRD',
      );
    case 'different':
      return failed(name, `different from this version of the operator: ${shown}`, CRDS_REMEDY);
    default:
      return kind satisfies never;
  }
}
