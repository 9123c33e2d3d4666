import { createCertificateAuthority } from '../test/support/control-plane/certificates.ts';
import type { Change } from './change.ts';
import type { Secret } from './model.ts';
import type { Site } from './site.ts';

const authority = createCertificateAuthority();
const newPair = () => authority.issue({ commonName: 'gateway', hosts: [], usage: 'client' });

const collectionOf = (namespace: string) => `/api/v1/namespaces/${namespace}/secrets`;

/** Creates a Secret or gives it a new key pair. `isTorn`: with the key of another certificate. */
export async function writePair(
  { api, model }: Site,
  { namespace, name }: Pick<Secret, 'namespace' | 'name'>,
  { isTorn }: { readonly isTorn: boolean } = { isTorn: false },
): Promise<void> {
  const { certPem, keyPem } = newPair();
  model.writeSecret(namespace, name, isTorn ? undefined : certPem);
  await api.replace(collectionOf(namespace), name, {
    type: 'kubernetes.io/tls',
    metadata: { name },
    stringData: { 'tls.crt': certPem, 'tls.key': isTorn ? newPair().keyPem : keyPem },
  });
}

/** A change of a Secret that is usable, or of one that is not. */
function secretChange(
  name: string,
  weight: number,
  among: 'usable' | 'unusable',
  change: (site: Site, secret: Secret) => Promise<void>,
): Change {
  return {
    name,
    weight,
    async apply(site, random) {
      const found = [...site.model.secrets.values()].filter(
        ({ certificate }) => (certificate !== undefined) === (among === 'usable'),
      );
      if (found.length === 0) return undefined;
      const secret = random.pick(found);
      await change(site, secret);
      return `${secret.namespace}/${secret.name}`;
    },
  };
}

export const SECRET_CHANGES: readonly Change[] = [
  secretChange('certificate renewed', 8, 'usable', writePair),
  secretChange('key of another certificate', 1, 'usable', (site, secret) =>
    writePair(site, secret, { isTorn: true }),
  ),
  secretChange('certificate deleted', 2, 'usable', async ({ api, model }, { namespace, name }) => {
    model.writeSecret(namespace, name, undefined);
    await api.remove(`${collectionOf(namespace)}/${name}`);
  }),
  secretChange('certificate created', 6, 'unusable', writePair),
];
