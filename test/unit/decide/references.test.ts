import { describe, expect, it } from 'vitest';
import { grantIndexes, referenceDenied } from '../../../src/decide/references.ts';
import { transformReferenceGrant, unreadableReferenceGrant } from '../../../src/kube/objects.ts';
import { createStore } from '../../../src/kube/store.ts';
import type { ReferenceGrantStored } from '../../../src/model/objects.ts';

const ref = {
  source: 'Kubernetes',
  namespace: 'bank',
  name: 'web',
  port: { by: 'servicePort', port: 80 },
  protocol: 'TCP',
} as const;
const metadata = (name: string) => ({ namespace: 'bank', name, uid: name, resourceVersion: '1' });

function refusedWith(...grants: readonly (ReferenceGrantStored | undefined)[]) {
  const store = createStore<ReferenceGrantStored>({
    indexes: grantIndexes,
    reportError: (error) => expect.unreachable(String(error)),
  });
  store.replaceAll(grants.filter((grant) => grant !== undefined));
  store.setState({ state: 'synced' });
  return referenceDenied({ grants: store, onlyNamespaces: [] }, ref, 'shop');
}

describe('a reference into another namespace', () => {
  const unreadable = unreadableReferenceGrant({ metadata: metadata('a') }, 'bad');
  const permitting = transformReferenceGrant({
    metadata: metadata('b'),
    spec: {
      from: [{ group: 'gatewayupstream.dev', kind: 'GatewayUpstream', namespace: 'shop' }],
      to: [{ group: '', kind: 'Service' }],
    },
  });

  it('is denied without a ReferenceGrant', () => {
    expect(refusedWith()).toMatchObject({ state: 'notPermitted', reason: 'RefNotPermitted' });
  });

  it('is unknown while a ReferenceGrant that may permit it cannot be read', () => {
    expect(refusedWith(unreadable)).toMatchObject({
      state: 'unknown',
      beginning: false,
      message: expect.stringContaining('ReferenceGrant bank/a cannot be read (bad)'),
    });
  });

  it('is permitted by a readable ReferenceGrant beside an unreadable one', () => {
    expect(refusedWith(unreadable, permitting)).toBeUndefined();
  });
});
