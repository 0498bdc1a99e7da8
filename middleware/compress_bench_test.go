package middleware

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	kgzip "github.com/klauspost/compress/gzip"
)

// twentyProducts returns a page of different products.
func twentyProducts() []byte {
	words := []string{"Espresso cups", "Blue mug", "Tea pot", "Oak tray", "Glass jar", "Linen towel", "Copper kettle"}
	list := make([]any, 20)
	for i := range list {
		p := sampleProduct
		p.ID, p.SKU = "prd_"+pseudorandom(i, 10), "SKU-"+pseudorandom(i+100, 5)
		p.Name = words[i%len(words)] + ", " + words[(i*3+1)%len(words)]
		p.Description = words[(i*5+2)%len(words)] + " with " + words[(i*2+3)%len(words)] + ", hand made."
		p.Price.Amount, p.Stock = int64(i*i*37+290), int64(1000-i*13)
		p.UpdatedAt = p.UpdatedAt.Add(time.Duration(i*i) * time.Minute)
		list[i] = p
	}
	data, err := json.Marshal(map[string]any{"data": list, "next_cursor": nil})
	if err != nil {
		panic(err)
	}
	return data
}

func pseudorandom(seed, n int) string {
	text := make([]byte, n)
	state := uint32(seed)*2654435761 + 1
	for i := range text {
		state = state*1664525 + 1013904223
		text[i] = "0123456789abcdefghijklmnopqrstuv"[state>>27]
	}
	return string(text)
}

// BenchmarkCompress measures the server time and the response size of one and of
// twenty products, with and without Compress, and with and without accepting gzip.
func BenchmarkCompress(b *testing.B) {
	one, err := json.Marshal(sampleProduct)
	if err != nil {
		b.Fatal(err)
	}
	for _, body := range []struct {
		name string
		data []byte
	}{{"one", one}, {"twenty", twentyProducts()}} {
		gin.SetMode(gin.ReleaseMode)
		router := gin.New()
		router.Use(Begin(nil), Headers())
		router.GET("/", func(c *gin.Context) { c.Data(http.StatusOK, "application/json; charset=utf-8", body.data) })
		for name, handler := range map[string]http.Handler{"bare": router, "wrapped": Compress(router, byAccept)} {
			for _, accepted := range []string{"", "gzip"} {
				b.Run(body.name+"/"+name+"/"+accepted, func(b *testing.B) {
					r := httptest.NewRequest(http.MethodGet, "/", nil)
					if accepted != "" {
						r.Header.Set("Accept-Encoding", accepted)
					}
					b.ReportAllocs()
					var sent int
					for b.Loop() {
						w := httptest.NewRecorder()
						handler.ServeHTTP(w, r)
						sent = w.Body.Len()
					}
					b.ReportMetric(float64(sent), "bytes")
				})
			}
		}
	}
}

// BenchmarkLevels compares the compression levels, and compress/gzip, on twenty
// products.
func BenchmarkLevels(b *testing.B) {
	data := twentyProducts()
	var out bytes.Buffer
	run := func(name string, w interface {
		io.WriteCloser
		Reset(w io.Writer)
	},
	) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				out.Reset()
				w.Reset(&out)
				_, _ = w.Write(data)
				_ = w.Close()
			}
			b.ReportMetric(float64(out.Len()), "bytes")
		})
	}
	for _, level := range []int{1, 3, 5, 6, 9} {
		w, err := kgzip.NewWriterLevel(&out, level)
		if err != nil {
			b.Fatal(err)
		}
		run(fmt.Sprintf("level=%d", level), w)
	}
	run("standard", gzip.NewWriter(&out))
}
