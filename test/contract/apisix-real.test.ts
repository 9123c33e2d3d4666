import { it } from 'vitest';
import { apisixDataPlaneHarness, apisixHarness } from './apisix-harness.ts';
import { testDataPlaneReader } from './data-plane-reader.ts';
import { testGatewayDriver } from './gateway-driver.ts';

// On a real gateway, the suite changes only ids that begin with `conformance-`.
const adminUrl = process.env['APISIX_ADMIN_URL'];
const adminKey = process.env['APISIX_ADMIN_KEY'];
const controlUrl = process.env['APISIX_CONTROL_URL'];
const proxyUrl = process.env['APISIX_PROXY_URL'];

if (adminUrl === undefined || adminKey === undefined) {
  it('passes for the APISIX driver on a real gateway', ({ skip }) => {
    skip('APISIX_ADMIN_URL and APISIX_ADMIN_KEY are not set');
  });
} else {
  testGatewayDriver({
    name: `The APISIX driver on ${new URL(adminUrl).host}`,
    create: async () => apisixHarness({ adminUrl, adminKey }, async () => {}),
    keepsBackendMarks: true,
    randomUpstreams: 50,
    mostUpstreams: 600,
  });
}

if (adminUrl === undefined || adminKey === undefined || controlUrl === undefined || proxyUrl === undefined) {
  it('passes for the data planes of a real gateway', ({ skip }) => {
    skip('APISIX_CONTROL_URL and APISIX_PROXY_URL, of the gateway of APISIX_ADMIN_URL, are not set');
  });
} else {
  testDataPlaneReader({
    name: `The APISIX driver on ${new URL(controlUrl).host}`,
    create: async () => apisixDataPlaneHarness({ adminUrl, adminKey, controlUrl, proxyUrl }, async () => {}),
  });
}
