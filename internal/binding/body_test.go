package binding

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"ratelimiter/models"
)

const goodOrder = `{"items":[{"product_id":"prd_1","quantity":2}],"email":"a@example.com","payment_token":"tok_ok"}`

// createOrder is a body with nested objects and all kinds of limits.
type createOrder struct {
	Items        []createItem `json:"items" validate:"required" minItems:"1" maxItems:"200"`
	Email        string       `json:"email" validate:"required" maxLength:"254" format:"email"`
	PaymentToken string       `json:"payment_token" validate:"required" minLength:"1" maxLength:"255"`
}

type createItem struct {
	ProductID string `json:"product_id" validate:"required" minLength:"1" maxLength:"64"`
	Quantity  int64  `json:"quantity" validate:"required" minimum:"1" maximum:"10000"`
}

type placeOrder struct {
	Body createOrder `body:"required"`
}

func init() { gin.SetMode(gin.TestMode) }

// contextOf returns a gin context of a request.
func contextOf(method, target string, body []byte, header ...string) *gin.Context {
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	c.Request = httptest.NewRequest(method, target, bytes.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		c.Request.Header.Add(header[i], header[i+1])
	}
	return c
}

// bindOrder binds the body of an order.
func bindOrder(body []byte, contentType string) (createOrder, error) {
	in, err := Bind(contextOf(http.MethodPost, "/v1/orders", body, "Content-Type", contentType), placeOrder{}, JSON)
	return in.Body, err
}

func TestBind_body(t *testing.T) {
	order, err := bindOrder([]byte(goodOrder), "application/json; charset=UTF-8")
	if err != nil {
		t.Fatal(err)
	}
	want := createOrder{Items: []createItem{{"prd_1", 2}}, Email: "a@example.com", PaymentToken: "tok_ok"}
	if fmt.Sprint(order) != fmt.Sprint(want) {
		t.Fatalf("got %v; want %v", order, want)
	}
}

func TestBind_malformed_body(t *testing.T) {
	cases := []struct {
		name, body string
		status     int
		detail     string
	}{
		{"empty", "", 400, "empty"},
		{"white space", " \n", 400, "empty"},
		{"truncated", goodOrder[:20], 400, "ends too early"},
		{"not JSON", "items=1", 400, "not JSON"},
		{"trailing data", goodOrder + "{}", 400, "followed by other data"},
		{"trailing comma", goodOrder + ",", 400, "followed by other data"},
		{"duplicate name", `{"email":"a@example.com","email":"b@example.com"}`, 400, "repeats a name"},
		{"nested duplicate name", `{"items":[{"quantity":1,"quantity":2}]}`, 400, "repeats a name"},
		{"invalid UTF-8", `{"email":"` + "\xff" + `"}`, 400, "UTF-8"},
		{"unpaired surrogate", `{"email":"\ud800"}`, 400, "surrogate"},
		{"too deep", strings.Repeat("[", 33) + strings.Repeat("]", 33), 400, "deeper than 32"},
		{"much too deep", strings.Repeat("[", 60_000), 400, "deeper than 32"},
		{"too large", `{"email":"` + strings.Repeat("a", 64<<10) + `"}`, 413, "64 KiB"},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			_, err := bindOrder([]byte(test.body), "application/json")
			var status *Error
			if !errors.As(err, &status) || status.status != test.status || !strings.Contains(status.detail, test.detail) {
				t.Fatalf("got error %#v; want %d and %q", err, test.status, test.detail)
			}
		})
	}
}

func TestBind_unsupported_media_type(t *testing.T) {
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "application/json; ="} {
		_, err := bindOrder([]byte(goodOrder), contentType)
		var status *Error
		if !errors.As(err, &status) || status.status != http.StatusUnsupportedMediaType {
			t.Errorf("Content-Type %q: got error %v; want a 415", contentType, err)
		}
	}
}

func TestBind_unsupported_content_encoding(t *testing.T) {
	for _, header := range [][]string{
		{"Content-Type", JSON, "Content-Encoding", "gzip"},
		{"Content-Type", JSON, "Content-Type", "text/plain"},
	} {
		_, err := Bind(contextOf(http.MethodPost, "/v1/orders", []byte(goodOrder), header...), placeOrder{}, JSON)
		var status *Error
		if !errors.As(err, &status) || status.status != http.StatusUnsupportedMediaType {
			t.Errorf("%v: got error %v; want a 415", header, err)
		}
	}
	if _, err := Bind(contextOf(http.MethodPost, "/v1/orders", []byte(goodOrder), "Content-Type", JSON, "Content-Encoding", "identity"), placeOrder{}, JSON); err != nil {
		t.Errorf("identity: got error %v", err)
	}
}

func TestBind_body_faults(t *testing.T) {
	cases := []struct{ name, body, faults string }{
		{"empty object", `{}`, "/items:required /email:required /payment_token:required"},
		{"not an object", `[]`, ":type"},
		{"null", `null`, ":null"},
		{"nulls", `{"items":null,"email":null,"payment_token":null}`, "/items:null /email:null /payment_token:null"},
		{
			"wrong types", `{"items":{},"email":1,"payment_token":["x"]}`,
			"/items:type /email:type /payment_token:type",
		},
		{
			"items", `{"items":[{"product_id":"","quantity":0},{"quantity":1.5},7,{"product_id":"p","quantity":10001}],"email":"a@example.com","payment_token":"t"}`,
			"/items/0/product_id:min_length /items/0/quantity:min /items/1/quantity:type /items/1/product_id:required /items/2:type /items/3/quantity:max",
		},
		{
			"unknown names", `{"items":[{"product_id":"p","quantity":1,"a/b~c":1}],"Email":"a@example.com","email":"a@example.com","payment_token":"t"}`,
			"/items/0/a/b~c:unknown /Email:unknown",
		},
		{"number too large", `{"items":[{"product_id":"p","quantity":9223372036854775808}],"email":"a@example.com","payment_token":"t"}`, "/items/0/quantity:type"},
		{"NUL", `{"items":[{"product_id":"p\u0000","quantity":1}],"email":"a@example.com","payment_token":"t"}`, "/items/0/product_id:nul"},
		{"invalid address", `{"items":[{"product_id":"p","quantity":1}],"email":"A <a@example.com>","payment_token":"t"}`, "/email:email"},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			_, err := bindOrder([]byte(test.body), "application/json")
			var invalid *models.Error
			if !errors.As(err, &invalid) {
				t.Fatalf("got error %v; want faults", err)
			}
			var got []string
			for _, f := range invalid.Faults {
				got = append(got, pathOf(f)+":"+f.Code)
			}
			if strings.Join(got, " ") != test.faults {
				t.Fatalf("got faults %s\n  want %s", strings.Join(got, " "), test.faults)
			}
		})
	}
}

func TestBind_suggests_field_name(t *testing.T) {
	_, err := bindOrder([]byte(`{"Email":"x"}`), "application/json")
	if err == nil || !strings.Contains(err.Error(), `did you mean "email"`) {
		t.Fatalf("got error %v", err)
	}
}

func TestBind_errors_omit_values(t *testing.T) {
	_, err := bindOrder([]byte(`{"payment_token":"tok_`+strings.Repeat("secret", 60)+`","email":"secret"}`), "application/json")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Fatalf("got error %v", err)
	}
}

// FuzzReadBody checks that the result is an error for clients or an order on
// which encoding/json, which is more lenient, agrees.
func FuzzReadBody(f *testing.F) {
	f.Add([]byte(goodOrder))
	f.Add([]byte(`{"items":[{}],"email":null}`))
	f.Add([]byte(`[{"a":[{"b":null}]}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		order, err := bindOrder(body, "application/json")
		if err != nil {
			if !errors.As(err, new(*Error)) && !errors.As(err, new(*models.Error)) {
				t.Fatalf("got error %v of type %[1]T", err)
			}
			return
		}
		var lax createOrder
		if err := json.Unmarshal(body, &lax); err != nil {
			t.Fatalf("%q was accepted, but isn't JSON: %v", body, err)
		}
		if !slices.Equal(lax.Items, order.Items) || lax.Email != order.Email || lax.PaymentToken != order.PaymentToken {
			t.Fatalf("%q: got %v; want %v", body, order, lax)
		}
	})
}

func TestDecodeJSON_integers(t *testing.T) {
	type body struct {
		N int64 `json:"n"`
	}
	for notation, want := range map[string]string{
		"2": "2", "2.0": "2", "2e0": "2", "20e-1": "2", "0.2E+1": "2", "1e3": "1000", "-0.0": "0", "0e99999999999": "0", "-2.0": "-2",
		"2.5": "fault", "1.00000000000000000001": "fault", "0.99999999999999999999": "fault", "1e-400": "fault", "1e400": "fault",
		"9007199254740993": "9007199254740993", `"2"`: "fault",
	} {
		var got body
		err := DecodeJSON([]byte(`{"n":`+notation+`}`), &got)
		if text := strconv.FormatInt(got.N, 10); (err != nil) != (want == "fault") || err == nil && text != want {
			t.Errorf("%s: %s, %v, want %s", notation, text, err, want)
		}
	}
}
