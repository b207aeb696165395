package blake3

import (
	"os"
	"os/exec"
	"testing"
)

// TestVectorsNeed runs this program as if the processor lacked one of the
// extensions that hash16 is made of: it must not be called then, since an
// unknown instruction ends a program.
func TestVectorsNeed(t *testing.T) {
	t.Parallel()
	if os.Getenv("L2P_TEST_NO_VECTORS") != "" {
		if vectors {
			t.Error("hash16 is used on a processor that doesn't know its instructions")
		}
		return
	}
	if !vectors {
		t.Skip("this processor has no AVX-512")
	}
	for _, feature := range []string{"avx512f", "avx512vl"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVectorsNeed$")
		cmd.Env = append(os.Environ(), "L2P_TEST_NO_VECTORS=1", "GODEBUG=cpu."+feature+"=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("without %s: %v\n%s", feature, err, out)
		}
	}
}
