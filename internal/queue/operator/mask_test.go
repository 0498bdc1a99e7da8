package operator

import "testing"

func TestMask(t *testing.T) {
	for payload, want := range map[string]string{
		`{"order_id":"ord_7","email":"a@b.example","payment_token":"pm_1"}`: `{"email":"***","order_id":"ord_7","payment_token":"***"}`,
		`{"customerEmail":"jürgen@exämple.de","to":["a.b+c@d.example"]}`:    `{"customerEmail":"***","to":["***"]}`,
		`{"note":"tok_ok, rl_live_abc and postgres://u:p@h/d"}`:             `{"note":"tok_***, rl_live_*** and postgres://***h/d"}`,
		`{"token":5,"secret":{"a":1},"password":null}`:                      `{"password":null,"secret":"***","token":"***"}`,
		`{"amount":12345678901234567890,"rate":0.10}`:                       `{"amount":12345678901234567890,"rate":0.10}`,
		`["a@b.example"]`: `{"value":["***"]}`,
		`"text"`:          `{"value":"text"}`,
		``:                `{"value":null}`,
	} {
		if got := string(mask([]byte(payload))); got != want {
			t.Errorf("%s: got %s; want %s", payload, got, want)
		}
	}
}
