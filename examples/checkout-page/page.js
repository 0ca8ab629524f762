// The browser's side of capi: tells the shop what only the browser knows, and
// makes the pixel's call for an order with the id that the server sends, too.
(function () {
	'use strict';

	// A cookie as it is: what Meta wrote is neither decoded nor built anew.
	function cookie(name) {
		var prefix = name + '=';
		var found = document.cookie.split('; ').filter(function (text) {
			return text.indexOf(prefix) === 0;
		});

		return found.length > 0 ? found[0].slice(prefix.length) : null;
	}

	// The address of the browser is known to the server; the order's key comes
	// from the session there, never from here.
	function postContext(url) {
		fetch(url, {
			method: 'POST',
			credentials: 'same-origin',
			keepalive: true,
			headers: { 'Content-Type': 'application/json' },
			body: JSON.stringify({
				fbp: cookie('_fbp'),
				fbc: cookie('_fbc'),
				client_user_agent: navigator.userAgent,
				event_source_url: location.href
			})
		}).catch(function () { /* the shop goes on without it */ });
	}

	function callPixel(text) {
		var call = JSON.parse(text);

		if (call !== null && typeof window.fbq === 'function')
			window.fbq('track', call.event_name, call.parameters, { eventID: call.event_id });
	}

	var contextUrl = document.body.getAttribute('data-context-url');
	var purchase = document.getElementById('capi-purchase');

	if (contextUrl)
		postContext(contextUrl);
	if (purchase)
		callPixel(purchase.textContent);
}());
